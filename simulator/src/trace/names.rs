//! Names that have been given, kept so small that memory does not grow with the trace: jobs are
//! mostly numbered, and numbers that follow each other take the room of one.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The longest number at the end of a name that is looked at as one.
const DIGITS: usize = 18;

/// Names without repetition.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Runs of numbers: what stands before the number (as a fingerprint) and the first of them,
    /// with the last of them.
    runs: BTreeMap<(u64, u64), u64>,
}

impl Names {
    /// The name, or if it has been given before, the name with its line; and whether that was so.
    pub(super) fn unique(&mut self, name: &str, line: u64) -> (String, bool) {
        let mut unique = name.to_owned();
        let again = !self.insert(name);
        if again {
            unique.push_str(&format!("-line{line}"));
            while !self.insert(&unique) {
                unique.push('x');
            }
        }
        (unique, again)
    }

    /// Keeps a name; `false` if it is there already.
    fn insert(&mut self, name: &str) -> bool {
        let (stem, number) = split(name);
        let below = self.runs.range(..=(stem, number)).next_back();
        let below = below.filter(|((of, _), _)| *of == stem);
        let mut first = number;
        match below.map(|((_, first), last)| (*first, *last)) {
            Some((_, last)) if last >= number => return false,
            Some((start, last)) if last + 1 == number => first = start,
            _ => {}
        }
        let last = self.runs.remove(&(stem, number + 1)).unwrap_or(number);
        self.runs.insert((stem, first), last);
        true
    }
}

/// A fingerprint of what stands before the number at the end, and the number. Zeros at its head
/// belong to what stands before it, so that both together are the whole name.
fn split(name: &str) -> (u64, u64) {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let tail = &name[name.len() - digits.min(DIGITS)..];
    let significant = tail.trim_start_matches('0');
    let length = significant.len().max(usize::from(!tail.is_empty()));
    let mut hasher = DefaultHasher::new();
    // `a` has no number, which is not the same as `a0`.
    (&name[..name.len() - length], tail.is_empty()).hash(&mut hasher);
    (hasher.finish(), significant.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_that_is_given_again_gets_its_line() {
        let mut names = Names::default();
        assert_eq!(names.unique("7", 2), ("7".to_owned(), false));
        assert_eq!(names.unique("7", 3), ("7-line3".to_owned(), true));
        assert_eq!(names.unique("7", 4), ("7-line4".to_owned(), true));
        assert_eq!(names.unique("8-line6", 5), ("8-line6".to_owned(), false));
        assert_eq!(names.unique("8", 6), ("8".to_owned(), false));
        assert_eq!(names.unique("8", 6), ("8-line6x".to_owned(), true));
        assert_eq!(names.unique("8", 6), ("8-line6xx".to_owned(), true));
    }

    #[test]
    fn numbered_names_take_no_room() {
        let mut names = Names::default();
        for number in 0..10_000 {
            assert!(names.insert(&format!("pod-{number:04}")));
        }
        // Zeros at the head make a run of their own: 0-9, 10-99, 100-999 and the rest.
        assert_eq!(names.runs.len(), 4);
        let mut names = Names::default();
        // Every number below 10,007, in a shuffled order.
        for number in 0..10_007_u64 {
            assert!(names.insert(&(number * 5_003 % 10_007).to_string()));
        }
        assert_eq!(names.runs.len(), 1);
    }

    proptest! {
        #[test]
        fn exactly_the_repeated_ones_are_told(
            given in proptest::collection::vec("[a-b]{0,2}[0-2]{0,3}|[01]{17,20}", 0..60),
        ) {
            let mut names = Names::default();
            let mut seen = BTreeSet::new();
            for name in given {
                prop_assert_eq!(names.insert(&name), seen.insert(name.clone()), "{}", name);
            }
        }
    }
}
