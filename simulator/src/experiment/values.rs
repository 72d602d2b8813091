//! Values as they are written on the command line: lists, ranges, seeds.

use std::str::FromStr;

use super::path::Path;

/// `PATH=VALUES`: a field and the values to try there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The field.
    pub path: Path,
    /// The values, as written: all different, at least one.
    pub values: Vec<String>,
}

/// `PATH=LO..HI`: a field and whole numbers to try there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Varying {
    /// The field.
    pub path: Path,
    /// The numbers, rising, at least one.
    pub values: Vec<u64>,
}

/// Seeds: `1-20`, `7` or `1,3,5-9`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

/// More than anybody can wait for; a slip of the pen.
const COUNT_MAX: u64 = 100_000;

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, values) = assignment(text)?;
        if matches!(path.to_string().as_str(), "seed" | "order") {
            return Err("seeds come from --seeds and orders from --order".to_owned());
        }
        let values = parts(values)?
            .into_iter()
            .map(expand)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            path,
            values: distinct(values.concat())?,
        })
    }
}

impl FromStr for Varying {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Setting { path, values } = text.parse()?;
        let number = |value: &String| {
            let wrong = || format!("`{value}` is not a whole number; write a range such as 4..64");
            value.parse().map_err(|_| wrong())
        };
        let mut values: Vec<u64> = values.iter().map(number).collect::<Result<_, _>>()?;
        values.sort_unstable();
        Ok(Self { path, values })
    }
}

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let seeds = parts(text)?.into_iter().map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                text.parse()
                    .map_err(|_| format!("`{part}` is no seed; write 7, 1-20 or 1,3,5-9"))
            };
            range(number(low)?, number(high)?, 1)
        });
        let seeds: Vec<Vec<u64>> = seeds.collect::<Result<_, String>>()?;
        distinct(seeds.concat()).map(Self)
    }
}

fn assignment(text: &str) -> Result<(Path, &str), String> {
    let (path, values) = text
        .split_once('=')
        .ok_or("write PATH=VALUES, such as pools.h100.count=8,16")?;
    Ok((path.trim().parse()?, values))
}

fn parts(text: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).collect();
    match parts.iter().any(|part| part.is_empty()) {
        true => Err("a value is missing; write one, or several with a comma between".to_owned()),
        false => Ok(parts),
    }
}

/// A range as its numbers, and any other value as it is.
fn expand(part: &str) -> Result<Vec<String>, String> {
    let Some((low, rest)) = part.split_once("..") else {
        return Ok(vec![part.to_owned()]);
    };
    let (high, step) = rest.split_once(':').unwrap_or((rest, "1"));
    let number = |text: &str| {
        let wrong =
            "is not a range of whole numbers; write LOW..HIGH, LOW..HIGH:STEP, or all values";
        text.parse::<u64>().map_err(|_| format!("`{part}` {wrong}"))
    };
    let numbers = range(number(low)?, number(high)?, number(step)?)?;
    Ok(numbers.iter().map(ToString::to_string).collect())
}

/// The numbers from `low` to `high`, both included where the steps lead there.
fn range(low: u64, high: u64, step: u64) -> Result<Vec<u64>, String> {
    if low > high {
        return Err(format!("{low} is above {high}; write the lower one first"));
    }
    if step == 0 {
        return Err("a step of 0 never arrives; write 1 or more".to_owned());
    }
    if (high - low) / step >= COUNT_MAX {
        return Err(format!(
            "these are more than {COUNT_MAX}; write a shorter range"
        ));
    }
    Ok((0..=(high - low) / step).map(|n| low + n * step).collect())
}

fn distinct<T: Clone + Ord + std::fmt::Display>(values: Vec<T>) -> Result<Vec<T>, String> {
    let mut sorted = values.clone();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("`{}` is written twice; keep one of them", pair[0])),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Result<Vec<String>, String> {
        text.parse::<Setting>().map(|setting| setting.values)
    }

    #[test]
    fn lists_and_ranges_are_written_out() {
        assert_eq!(
            values("a.b=1/2,drf, x"),
            Ok(["1/2", "drf", "x"].map(str::to_owned).into())
        );
        assert_eq!(
            values("a=8..16:4,20"),
            Ok(["8", "12", "16", "20"].map(str::to_owned).into())
        );
        assert_eq!(
            values("a=8..15:4"),
            Ok(["8", "12"].map(str::to_owned).into())
        );
        let varying: Varying = "a=16,4..6".parse().unwrap();
        assert_eq!(varying.values, [4, 5, 6, 16]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_remedy() {
        for (text, word) in [
            ("a", "PATH=VALUES"),
            ("=1", "names with a dot"),
            ("a=", "a value is missing"),
            ("a=1,,2", "a value is missing"),
            ("a=4..1", "the lower one first"),
            ("a=1..4:0", "never arrives"),
            ("a=0.5..1.5", "range of whole numbers"),
            ("a=1..1000000", "more than 100000"),
            ("a=4,2..6", "`4` is written twice"),
            ("seed=1,2", "--seeds"),
        ] {
            let error = values(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
        assert!(
            "a=x,1"
                .parse::<Varying>()
                .unwrap_err()
                .contains("`x` is not a whole number")
        );
    }

    #[test]
    fn seeds_are_ranges_and_lists() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0);
        assert_eq!(seeds("1-4"), Ok(vec![1, 2, 3, 4]));
        assert_eq!(seeds("7,1-2"), Ok(vec![7, 1, 2]));
        assert!(seeds("2-1").is_err() && seeds("1,1").is_err() && seeds("-1").is_err());
    }
}
