//! Who begins to keep the book finds it as the last one left it: what has changed since is written
//! first, and what nobody saw is estimated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::open_lines::{self, Open};
use super::{Book, Error, write};
use crate::entry::{Entry, Held, Picture, PlaceId};
use crate::record::{End, Stock, Why};
use crate::room::{Room, Span};

impl Book {
    /// Goes on with the book from a moment on at which all is known. Returns how many lines that made,
    /// and until when it was kept before.
    ///
    /// # Errors
    /// When the database cannot be read or written: nothing is written then.
    pub async fn take_up(&self, picture: &Picture) -> Result<(u64, Option<u64>), Error> {
        let mut transaction = self.begin().await?;
        let open = open_lines::open_holds(&mut transaction).await?;
        let stock = open_lines::open_stock(&mut transaction).await?;
        let kept_until = open_lines::kept_until(&mut transaction).await?;
        let mut freed = BTreeMap::new();
        for (node, since_ms) in nodes(&open, picture) {
            let places = open_lines::freed(&mut transaction, node, since_ms).await?;
            freed.insert(node, places);
        }
        let left = Left {
            open,
            stock,
            kept_until,
            freed,
        };
        let entries = differences(&left, picture);
        let kept = (picture.at_ms, picture.at_ms);
        let lines = write::put(&mut transaction, &entries, kept).await?;
        transaction.commit().await.map_err(Error::Unwritten)?;
        Ok((lines, kept_until))
    }
}

/// The book as the last one left it.
struct Left<'a> {
    open: Vec<Open>,
    stock: Vec<Stock>,
    kept_until: Option<u64>,
    /// Places that became free, by the nodes on which something is held, or was, that the book does not
    /// know of; as far back as that.
    freed: BTreeMap<&'a str, Vec<Span>>,
}

/// The nodes on which something is held, or was, that the book does not know of; and since when.
fn nodes<'a>(open: &[Open], now: &'a Picture) -> BTreeMap<&'a str, u64> {
    let known: BTreeSet<&PlaceId> = open.iter().map(|open| &open.id).collect();
    let over = now.over.iter().chain(&now.gone).map(|(held, _)| held);
    let all = now.held.iter().chain(over);
    let mut nodes = BTreeMap::new();
    for held in all.filter(|held| !known.contains(&held.id)) {
        let since_ms = nodes.entry(held.id.node.as_str()).or_insert(u64::MAX);
        *since_ms = held.from_ms.min(*since_ms);
    }
    nodes
}

/// The room on each node, by name.
type Rooms<'a> = BTreeMap<&'a str, Room>;

/// The room on those nodes, where these places are free now and nothing is added yet.
fn rooms<'a>(left: &Left<'a>, ends: &[(PlaceId, End)]) -> Rooms<'a> {
    let mut rooms: Rooms<'a> = BTreeMap::new();
    for (node, freed) in &left.freed {
        let room = rooms.entry(node).or_default();
        room.held.clone_from(freed);
    }
    let ends: BTreeMap<&PlaceId, u64> = ends.iter().map(|(id, end)| (id, end.at_ms)).collect();
    for open in &left.open {
        if let Some(room) = rooms.get_mut(open.id.node.as_str()) {
            room.held.push(Span {
                from_ms: open.from_ms,
                until_ms: ends.get(&open.id).copied().unwrap_or(Span::LASTS),
                gpu_milli: open.gpu_milli,
            });
        }
    }
    rooms
}

/// Each node has this much, of each model as much as is said at most.
fn stocked<'a>(rooms: &mut Rooms<'_>, stock: impl Iterator<Item = &'a Stock>) {
    let mut there: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for stock in stock {
        let most = there.entry((&stock.node, &stock.model)).or_default();
        *most = stock.gpu_milli.max(*most);
    }
    rooms.values_mut().for_each(|room| room.there = 0);
    for ((node, _), gpu_milli) in there {
        if let Some(room) = rooms.get_mut(node) {
            room.there += gpu_milli;
        }
    }
}

/// What makes the book say what is so now. Nothing that ended is ended later than now, and nothing
/// that was known to last is ended before that was known.
fn differences(left: &Left<'_>, now: &Picture) -> Vec<Entry> {
    let stock = &left.stock;
    let known_ms = left.kept_until.unwrap_or_default().min(now.at_ms);
    let ends = ends(&left.open, known_ms, now);
    let mut rooms = rooms(left, &ends);
    // What is over may have been held on what is gone.
    stocked(&mut rooms, stock.iter().chain(&now.stock));
    let missed = missed(left, now, &mut rooms);
    stocked(&mut rooms, now.stock.iter());
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let over = missed.iter().map(|(held, end)| (&held.id, end));
    for (id, end) in ends.iter().map(|(id, end)| (id, end)).chain(over) {
        let latest = last.entry(&id.node).or_default();
        *latest = end.at_ms.max(*latest);
    }
    let gone = stock.iter().filter_map(|there| {
        let at_ms = match of(&now.stock, there) {
            Some(same) if is_same(same, there) => return None,
            Some(_) => now.at_ms,
            None => last.get(there.node.as_str()).copied().unwrap_or_default(),
        };
        Some(Entry::Gone {
            node: there.node.clone(),
            model: there.model.clone(),
            at_ms: at_ms.max(known_ms).max(there.from_ms),
            estimated: of(&now.stock, there).is_none(),
        })
    });
    let there: Vec<Stock> = now.stock.iter().map(|new| begun(new, stock, now)).collect();
    let names = now.names.iter().map(|(tenant, name)| Entry::Named {
        tenant: tenant.clone(),
        name: name.clone(),
        from_ms: now.at_ms,
    });
    let held = starts(left, &there, now, &mut rooms);
    let held = held.into_iter().map(Entry::Held);
    let gone: Vec<Entry> = gone.collect();
    let missed: Vec<Entry> = missed
        .iter()
        .map(|(held, end)| Entry::Missed(held.clone(), *end))
        .collect();
    let freed = ends.iter().cloned().map(|(id, end)| Entry::Freed(id, end));
    let new = there.into_iter().map(Entry::There);
    freed
        .chain(missed)
        .chain(gone)
        .chain(new)
        .chain(held)
        .chain(names)
        .collect()
}

/// Places that were held only while nobody kept the book, of what is known to have been there.
fn missed(left: &Left<'_>, now: &Picture, rooms: &mut Rooms<'_>) -> Vec<(Arc<Held>, End)> {
    // What only objects tell of was over when this process began to see, and may be older than the book.
    let over = now.over.iter().filter(|(_, end)| {
        let kept_until = left.kept_until;
        kept_until.is_some_and(|kept_until| end.at_ms > kept_until)
    });
    let gone = now.gone.iter().filter(|(_, end)| {
        let kept_until = left.kept_until;
        kept_until.is_none_or(|kept_until| end.at_ms > kept_until)
    });
    let over = over.map(|one| (one, now.since_ms));
    let open: BTreeSet<&PlaceId> = left.open.iter().map(|open| &open.id).collect();
    let unseen = over.chain(gone.map(|one| (one, now.at_ms)));
    let unseen = unseen.filter(|((held, _), _)| !open.contains(&held.id));
    let placed = unseen.filter_map(|((held, end), until_ms)| {
        let on_node = |stock: &&Stock| stock.node == held.id.node;
        let is_known = |stock: &&Stock| held.model.is_empty() || stock.model == held.model;
        let stock = left.stock.iter().chain(&now.stock);
        let there = stock.filter(on_node).find(is_known)?;
        let room = rooms.get_mut(held.id.node.as_str());
        let room_ms = room.map(|room| {
            let mut span = Span {
                from_ms: held.from_ms,
                until_ms: end.at_ms,
                gpu_milli: held.gpu_milli,
            };
            span.from_ms = room.since(span).unwrap_or(end.at_ms);
            room.held.push(span);
            span.from_ms
        });
        let held = Held {
            model: there.model.clone(),
            pool: there.pool.clone(),
            from_ms: held
                .from_ms
                .max(there.from_ms)
                .max(room_ms.unwrap_or_default()),
            ..Held::clone(held)
        };
        let end = End {
            at_ms: end.at_ms.clamp(held.from_ms, until_ms.max(held.from_ms)),
            ..*end
        };
        Some((Arc::new(held), end))
    });
    placed.collect()
}

/// Places that are free now.
fn ends(open: &[Open], known_ms: u64, now: &Picture) -> Vec<(PlaceId, End)> {
    let held: BTreeSet<&PlaceId> = now.held.iter().map(|held| &held.id).collect();
    let left = open.iter().filter(|open| !held.contains(&open.id));
    let end = |open: &Open| {
        let least = known_ms.max(open.from_ms);
        let seen = now.gone.iter().find(|(held, _)| held.id == open.id);
        if let Some((_, end)) = seen {
            let at_ms = end.at_ms.clamp(least, now.at_ms.max(least));
            return (open.id.clone(), End { at_ms, ..*end });
        }
        let told = now.ended.get(&open.id.job_uid);
        let end = match told {
            Some(at_ms) => End {
                at_ms: (*at_ms).clamp(least, now.since_ms.max(least)),
                why: Why::Finished,
                estimated: false,
            },
            None => End {
                at_ms: least,
                why: Why::Unknown,
                estimated: true,
            },
        };
        (open.id.clone(), end)
    };
    left.map(end).collect()
}

/// Places that the book does not know of. None is taken before there is something to take.
fn starts(
    left: &Left<'_>,
    there: &[Stock],
    now: &Picture,
    rooms: &mut Rooms<'_>,
) -> Vec<Arc<Held>> {
    let known: BTreeSet<&PlaceId> = left.open.iter().map(|open| &open.id).collect();
    let since: BTreeMap<(&str, &str), u64> = there
        .iter()
        .map(|stock| ((stock.node.as_str(), stock.model.as_str()), stock.from_ms))
        .collect();
    let new = now.held.iter().filter(|held| !known.contains(&held.id));
    let mut new: Vec<&Arc<Held>> = new.collect();
    new.sort_by_key(|held| held.from_ms);
    let begun = |held: &Arc<Held>| {
        let place = (held.id.node.as_str(), held.model.as_str());
        let since_ms = since.get(&place).copied().unwrap_or_default();
        let room_ms = rooms.get_mut(place.0).map_or(0, |room| {
            let span = Span::lasting(held.from_ms, held.gpu_milli);
            let room_ms = room.since(span).unwrap_or(now.since_ms);
            room.held.push(Span::lasting(room_ms, held.gpu_milli));
            room_ms
        });
        let from_ms = held.from_ms.max(since_ms).max(room_ms.min(now.since_ms));
        match from_ms == held.from_ms {
            true => held.clone(),
            false => Arc::new(Held {
                from_ms,
                ..Held::clone(held)
            }),
        }
    };
    new.into_iter().map(begun).collect()
}

/// Stock with the moment since when the book has it, or will have it.
fn begun(new: &Stock, stock: &[Stock], now: &Picture) -> Stock {
    let from_ms = match of(stock, new) {
        Some(known) if is_same(known, new) => known.from_ms,
        Some(_) => now.at_ms,
        None => new.from_ms,
    };
    Stock {
        from_ms,
        ..new.clone()
    }
}

fn of<'a>(all: &'a [Stock], one: &Stock) -> Option<&'a Stock> {
    all.iter()
        .find(|stock| stock.node == one.node && stock.model == one.model)
}

fn is_same(a: &Stock, b: &Stock) -> bool {
    (a.gpu_milli, &a.pool) == (b.gpu_milli, &b.pool)
}
