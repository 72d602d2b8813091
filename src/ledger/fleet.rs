//! What of a fleet nobody held, node by node, and whether more was held than there was.

use std::collections::BTreeMap;

use crate::period::{Period, moment};
use crate::record::{Extract, Hold, Stock};

/// GPUs that were there and that nobody held, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free<'a> {
    /// The node.
    pub node: &'a str,
    /// The model.
    pub model: &'a str,
    /// The node's pool at the time.
    pub pool: &'a str,
    /// How many, in thousandths.
    pub gpu_milli: u64,
    /// When.
    pub period: Period,
}

/// More was held of a node than it had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{held_milli} thousandths of a GPU of {model:?} were held on node {node:?} on {at}, by {jobs}, but it had {there_milli}: \
     the book is wrong there, and there is no bill; look for a hold that does not end or for GPUs that were not seen",
    at = moment(*at_ms)
)]
pub struct Excess {
    /// The node.
    pub node: String,
    /// The model.
    pub model: String,
    /// When first.
    pub at_ms: u64,
    /// How much was held, in thousandths.
    pub held_milli: u64,
    /// How much there was.
    pub there_milli: u64,
    /// Who held it.
    pub jobs: String,
}

/// What a period has in common with what the book was kept of.
#[must_use]
pub fn known(extract: &Extract) -> Period {
    let until_ms = extract
        .until_ms
        .min(extract.kept_until_ms)
        .max(extract.from_ms);
    Period {
        from_ms: extract.from_ms,
        until_ms,
    }
}

/// When a hold was held, within a period.
#[must_use]
pub fn held(hold: &Hold, within: Period) -> Period {
    let until_ms = hold.end.map_or(within.until_ms, |end| end.at_ms);
    within.within(Period {
        from_ms: hold.from_ms,
        until_ms,
    })
}

/// When stock was there, within a period.
#[must_use]
pub fn there(stock: &Stock, within: Period) -> Period {
    let until_ms = stock.until_ms.unwrap_or(within.until_ms);
    within.within(Period {
        from_ms: stock.from_ms,
        until_ms,
    })
}

/// What nobody held in a period, by node and model, in order of time.
///
/// # Errors
/// When more was held of a node than it had, at any moment.
pub fn free(extract: &Extract, within: Period) -> Result<Vec<Free<'_>>, Excess> {
    let mut changes: BTreeMap<(&str, &str), BTreeMap<u64, Change<'_>>> = BTreeMap::new();
    for stock in &extract.stock {
        let at = changes.entry((&stock.node, &stock.model)).or_default();
        change(at, there(stock, within), stock.gpu_milli, |c| &mut c.there);
        at.entry(stock.from_ms.max(within.from_ms))
            .or_default()
            .pool = Some(&stock.pool);
    }
    for hold in &extract.holds {
        let at = changes.entry((&hold.id.node, &hold.id.model)).or_default();
        change(at, held(hold, within), hold.gpu_milli, |c| &mut c.held);
    }
    let mut free = Vec::new();
    for ((node, model), changes) in changes {
        free.extend(
            sweep((node, model), &changes, within).map_err(|excess| Excess {
                jobs: holders(extract, &excess),
                ..excess
            })?,
        );
    }
    Ok(free)
}

/// What begins and ends at a moment, in thousandths.
#[derive(Default)]
struct Change<'a> {
    there: i128,
    held: i128,
    pool: Option<&'a str>,
}

fn change<'a>(
    at: &mut BTreeMap<u64, Change<'a>>,
    period: Period,
    gpu_milli: u64,
    of: for<'c> fn(&'c mut Change<'a>) -> &'c mut i128,
) {
    if period.length_ms() > 0 {
        *of(at.entry(period.from_ms).or_default()) += i128::from(gpu_milli);
        *of(at.entry(period.until_ms).or_default()) -= i128::from(gpu_milli);
    }
}

fn sweep<'a>(
    (node, model): (&'a str, &'a str),
    changes: &BTreeMap<u64, Change<'a>>,
    within: Period,
) -> Result<Vec<Free<'a>>, Excess> {
    let (mut there, mut held, mut pool) = (0, 0, "");
    let mut free = Vec::new();
    let milli = |amount: i128| u64::try_from(amount).unwrap_or_default();
    let nexts = changes.keys().skip(1).copied().chain([within.until_ms]);
    for ((&from_ms, change), until_ms) in changes.iter().zip(nexts) {
        there += change.there;
        held += change.held;
        pool = change.pool.unwrap_or(pool);
        if held > there {
            return Err(Excess {
                node: node.to_owned(),
                model: model.to_owned(),
                at_ms: from_ms,
                held_milli: milli(held),
                there_milli: milli(there),
                jobs: String::new(),
            });
        }
        let period = within.within(Period { from_ms, until_ms });
        if there > held && period.length_ms() > 0 {
            free.push(Free {
                node,
                model,
                pool,
                gpu_milli: milli(there - held),
                period,
            });
        }
    }
    Ok(free)
}

/// Who held a node when too much was held of it.
fn holders(extract: &Extract, excess: &Excess) -> String {
    let moment = Period {
        from_ms: excess.at_ms,
        until_ms: excess.at_ms + 1,
    };
    let there = |hold: &&Hold| {
        hold.id.node == excess.node
            && hold.id.model == excess.model
            && held(hold, moment).length_ms() > 0
    };
    let jobs = extract.holds.iter().filter(there);
    let jobs: Vec<String> = jobs
        .map(|hold| format!("{}/{}", hold.payer.namespace, hold.job))
        .collect();
    jobs.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{hold, stock};

    fn extract(holds: Vec<Hold>, stock: Vec<Stock>) -> Extract {
        Extract {
            from_ms: 10,
            until_ms: 100,
            kept_until_ms: 90,
            holds,
            stock,
            ..Extract::default()
        }
    }

    #[test]
    fn what_is_there_and_not_held_is_free_until_the_book_ends() {
        let extract = extract(
            vec![
                hold("red", "n1", 1500, 20, Some(50)),
                hold("blue", "n1", 500, 40, None),
            ],
            vec![stock("n1", 2000, 0, None)],
        );
        let free = free(&extract, known(&extract)).unwrap();
        let parts: Vec<_> = free
            .iter()
            .map(|f| (f.gpu_milli, f.period.from_ms, f.period.until_ms))
            .collect();
        assert_eq!(parts, [(2000, 10, 20), (500, 20, 40), (1500, 50, 90)]);
    }

    #[test]
    fn whoever_leaves_makes_room_at_that_very_moment() {
        let holds = vec![
            hold("red", "n1", 1000, 0, Some(50)),
            hold("blue", "n1", 1000, 50, None),
        ];
        let extract = extract(holds, vec![stock("n1", 1000, 0, None)]);
        assert_eq!(free(&extract, known(&extract)), Ok(vec![]));
    }

    #[test]
    fn more_than_there_was_is_told_with_its_node_and_jobs() {
        let holds = vec![
            hold("red", "n1", 1000, 0, None),
            hold("red", "n2", 1000, 0, None),
            hold("blue", "n2", 1, 70, Some(80)),
        ];
        let extract = extract(
            holds,
            vec![stock("n1", 1000, 0, None), stock("n2", 1000, 0, None)],
        );
        let excess = free(&extract, known(&extract)).unwrap_err();
        assert_eq!((excess.node.as_str(), excess.at_ms), ("n2", 70));
        assert_eq!((excess.held_milli, excess.there_milli), (1001, 1000));
        assert_eq!(excess.jobs, "ml-red/train and ml-blue/train");
    }
}
