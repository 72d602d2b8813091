//! The first page: what there is, who holds it, who is short of it, and what waits.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use prorata_core::reason::Outlook;
use prorata_dashboard::{Attention, Borrower, Debtor, Frame, Overview, Part, Tile, Tone, Wait};

use super::board::Board;
use super::gpus::cards;
use super::picture::{OTHERS, Shown};
use crate::api::State;
use crate::api::gpunode::Health;
use crate::cli::queue::Entry;
use crate::cli::shares::Holding;
use crate::cli::words::{count, gpus, span};
use crate::cli::{output, remedy, share};

/// The page.
pub(super) fn page(shown: &Shown<'_>, board: &Board, frame: Frame) -> Overview {
    let (timeline, since) = board.timeline(shown);
    let (debtors, borrowers) = pairs(shown);
    Overview {
        frame,
        tiles: tiles(shown),
        attention: attention(shown, board),
        parts: parts(shown),
        free: free(shown).map(gpus).unwrap_or_default(),
        debtors,
        borrowers,
        waits: waits(shown),
        timeline,
        since,
    }
}

/// What nobody holds of what takes work, in thousandths.
fn free(shown: &Shown<'_>) -> Option<u64> {
    let capacity = shown.whole.capacity?;
    Some(capacity.saturating_sub(shown.whole.held()))
}

fn tiles(shown: &Shown<'_>) -> Vec<Tile> {
    let (whole, held) = (shown.whole, shown.whole.held());
    let mut tiles = Vec::new();
    if let Some(capacity) = whole.capacity {
        tiles.push(offered(shown, capacity));
        tiles.push(Tile {
            label: "Held".to_owned(),
            value: gpus(held),
            detail: format!("{} % of what takes work", held * 100 / capacity.max(1)),
            ..Tile::default()
        });
        tiles.push(Tile {
            label: "Free".to_owned(),
            value: gpus(free(shown).unwrap_or_default()),
            detail: "on nodes that take work".to_owned(),
            ..Tile::default()
        });
    }
    tiles.push(waiting(shown));
    let short: Vec<u64> = leaves(&shown.holdings).filter_map(shortage).collect();
    tiles.push(Tile {
        label: "Below their due".to_owned(),
        value: count(short.len() as u64, "tenant"),
        detail: format!("short of {} GPUs", gpus(short.iter().sum())),
        tone: if short.is_empty() {
            Tone::Good
        } else {
            Tone::Bad
        },
        href: "/share".to_owned(),
    });
    if !whole.gpunodes.is_empty() {
        let (all, ill) = (cards(whole).count(), ill(shown));
        tiles.push(Tile {
            label: "Cards not healthy".to_owned(),
            value: ill.to_string(),
            detail: format!("of {}", count(all as u64, "card")),
            tone: if ill == 0 { Tone::Good } else { Tone::Bad },
            href: "/gpus".to_owned(),
        });
    }
    tiles
}

fn offered(shown: &Shown<'_>, capacity: u64) -> Tile {
    let nodes = shown.whole.nodes.iter().flatten();
    let idle = nodes.clone().filter(|node| !node.takes_work).count() as u64;
    let mut detail = format!("on {}", count(nodes.count() as u64 - idle, "node"));
    if idle > 0 {
        detail += &format!("; {} no work", takes(idle));
    }
    Tile {
        label: "GPUs".to_owned(),
        value: gpus(capacity),
        detail,
        tone: if idle > 0 { Tone::Wait } else { Tone::Plain },
        href: "/gpus".to_owned(),
    }
}

fn takes(nodes: u64) -> String {
    match nodes {
        1 => "1 takes".to_owned(),
        nodes => format!("{nodes} take"),
    }
}

/// Of those that are not seen only how many is told.
fn waiting(shown: &Shown<'_>) -> Tile {
    let tops = shown.holdings.iter().filter(|holding| holding.depth == 0);
    let own: u64 = tops.clone().map(|holding| u64::from(holding.waiting)).sum();
    let asked = tops.map(|holding| holding.waiting_milli_gpus).sum();
    let mut detail = format!("for {} GPUs", gpus(asked));
    if let Some(others) = &shown.others {
        detail += &format!("; {} of others", others.waiting);
    }
    Tile {
        label: "Waiting".to_owned(),
        value: count(own, "job"),
        detail,
        tone: Tone::Plain,
        href: "/queue?state=Waiting".to_owned(),
    }
}

fn ill(shown: &Shown<'_>) -> usize {
    let ill = |(_, gpu): &(&str, &crate::api::gpunode::Gpu)| gpu.health != Health::Healthy;
    cards(shown.whole).filter(ill).count()
}

/// Tenants that have none below them.
fn leaves(all: &[Holding]) -> impl Iterator<Item = &Holding> {
    let depths = all.iter().skip(1).map(|holding| holding.depth);
    let depths = depths.chain([0]);
    let pairs = all.iter().zip(depths);
    pairs
        .filter(|(holding, next)| *next <= holding.depth)
        .map(|(holding, _)| holding)
}

/// What a tenant waits for, of what is due to it and it does not hold.
fn shortage(holding: &Holding) -> Option<u64> {
    let due = holding.entitled_milli_gpus?;
    let is_short = share::tone(holding) == output::Tone::Bad;
    let short = due.saturating_sub(holding.held_milli_gpus);
    Some(short.min(holding.waiting_milli_gpus)).filter(|short| is_short && *short > 0)
}

/// What a tenant holds beyond what is due to it.
fn excess(holding: &Holding) -> u64 {
    let due = holding.entitled_milli_gpus.unwrap_or(u64::MAX);
    holding.held_milli_gpus.saturating_sub(due)
}

/// Who is short, and who holds more than its due instead: the shortest first, each from whoever
/// has most left.
fn pairs(shown: &Shown<'_>) -> (Vec<Debtor>, Vec<Borrower>) {
    let mut short: Vec<(&Holding, u64)> = leaves(&shown.holdings)
        .filter_map(|holding| Some((holding, shortage(holding)?)))
        .collect();
    short.sort_by_key(|(holding, short)| (Reverse(*short), holding.tenant.clone()));
    let over = leaves(&shown.holdings).map(|holding| (holding, excess(holding)));
    let mut over: Vec<(&Holding, u64)> = over.filter(|(_, over)| *over > 0).collect();
    over.sort_by_key(|(holding, over)| (Reverse(*over), holding.tenant.clone()));
    let borrowers = over.iter().map(|(holding, over)| Borrower {
        name: holding.tenant.clone(),
        held: gpus(holding.held_milli_gpus),
        due: gpus(holding.entitled_milli_gpus.unwrap_or_default()),
        over: gpus(*over),
    });
    let borrowers = borrowers.collect();
    let mut left: Vec<(&str, u64)> = over
        .iter()
        .map(|(h, over)| (h.tenant.as_str(), *over))
        .collect();
    // What those who are not told apart hold beyond their due is one sum.
    let hidden = leaves(&shown.whole.holdings).map(excess).sum::<u64>();
    let hidden = hidden.saturating_sub(left.iter().map(|(_, over)| over).sum());
    if shown.others.is_some() && hidden > 0 {
        left.push((OTHERS, hidden));
    }
    let debtors = short
        .into_iter()
        .map(|(holding, short)| debtor(holding, short, &mut left));
    (debtors.collect(), borrowers)
}

fn debtor(holding: &Holding, short: u64, left: &mut [(&str, u64)]) -> Debtor {
    let (mut missing, mut holders) = (short, Vec::new());
    for (name, over) in left.iter_mut().filter(|(_, over)| *over > 0) {
        let part = missing.min(*over);
        if part > 0 {
            holders.push(((*name).to_owned(), gpus(part)));
        }
        (*over, missing) = (*over - part, missing - part);
    }
    let rest = match missing {
        0 => String::new(),
        missing => format!("{} that nobody holds beyond its due", gpus(missing)),
    };
    Debtor {
        name: holding.tenant.clone(),
        held: gpus(holding.held_milli_gpus),
        due: gpus(holding.entitled_milli_gpus.unwrap_or_default()),
        short: gpus(short),
        holders,
        rest,
    }
}

fn parts(shown: &Shown<'_>) -> Vec<Part> {
    let held = shown.whole.held();
    let all = shown.whole.capacity.unwrap_or_default().max(held).max(1);
    let part = |holding: &&Holding| Part {
        name: holding.tenant.clone(),
        gpus: gpus(holding.held_milli_gpus),
        per_mille: holding.held_milli_gpus.saturating_mul(1000) / all,
    };
    shown.strands().iter().map(part).collect()
}

fn waits(shown: &Shown<'_>) -> Vec<Wait> {
    let mut by_reason: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    let waits = |entry: &&&Entry| matches!(entry.state, State::Waiting | State::Held);
    for entry in shown.entries.iter().filter(waits) {
        by_reason.entry(&entry.reason).or_default().push(entry);
    }
    let mut reasons: Vec<_> = by_reason.into_iter().collect();
    reasons.sort_by_key(|(reason, jobs)| (Reverse(jobs.len()), *reason));
    let wait = |(reason, jobs): (&str, Vec<&Entry>)| wait(reason, &jobs, shown.whole.at);
    reasons.into_iter().map(wait).collect()
}

fn wait(reason: &str, jobs: &[&Entry], now: Timestamp) -> Wait {
    let (outlook, tone) = match remedy::outlook(reason) {
        Outlook::Never => ("never starts as it is", Tone::Bad),
        Outlook::Held => ("held back", Tone::Dim),
        Outlook::Waiting => ("starts when it is its turn", Tone::Plain),
    };
    let longest = jobs.iter().map(|entry| entry.waited(now)).max();
    Wait {
        reason: reason.to_owned(),
        tone,
        outlook: outlook.to_owned(),
        jobs: jobs.len().to_string(),
        gpus: gpus(jobs.iter().map(|entry| entry.milli_gpus()).sum()),
        longest: span(longest.unwrap_or_default()),
    }
}

fn attention(shown: &Shown<'_>, board: &Board) -> Vec<Attention> {
    let mut found: Vec<Attention> = leaves(&shown.holdings).filter_map(short).collect();
    found.extend(blocked(shown));
    let ill = ill(shown) as u64;
    if ill > 0 {
        let text = format!("{} of {}", count(ill, "card"), cards(shown.whole).count());
        let verb = if ill == 1 { "is" } else { "are" };
        found.push(attend(
            Tone::Bad,
            "Cards",
            format!("{text} {verb} not healthy"),
            "/gpus",
        ));
    }
    found.extend(conditions(shown));
    let costs = board.costs();
    let own = shown
        .holdings
        .iter()
        .filter_map(|h| Some((h, costs.get(&h.tenant)?)));
    found.extend(own.filter_map(|(holding, money)| {
        let spent = money.spent_per_mille.filter(|spent| *spent >= 800)?;
        let text = format!(
            "{} has spent {} % of its budget",
            holding.tenant,
            spent / 10
        );
        let tone = if spent >= 1000 { Tone::Bad } else { Tone::Wait };
        Some(attend(tone, "Budget", text, "/tenants"))
    }));
    found.sort_by_key(|found| found.tone != Tone::Bad);
    found
}

fn attend(tone: Tone, word: &str, text: String, href: &str) -> Attention {
    Attention {
        tone,
        word: word.to_owned(),
        text,
        href: href.to_owned(),
    }
}

fn short(holding: &Holding) -> Option<Attention> {
    let short = shortage(holding)?;
    let text = format!(
        "{} holds {} of the {} GPUs that are due to it, and waits for {} more",
        holding.tenant,
        gpus(holding.held_milli_gpus),
        gpus(holding.entitled_milli_gpus.unwrap_or_default()),
        gpus(short),
    );
    Some(attend(Tone::Bad, "Short", text, "/share"))
}

fn blocked(shown: &Shown<'_>) -> Option<Attention> {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in shown.entries.iter().filter(|entry| entry.blocked) {
        *reasons.entry(&entry.reason).or_default() += 1;
    }
    let all: u64 = reasons.values().sum();
    let each: Vec<String> = reasons
        .iter()
        .map(|(reason, n)| format!("{reason} {n}"))
        .collect();
    let verb = if all == 1 { "starts" } else { "start" };
    let text = format!(
        "{} never {verb} as submitted: {}",
        count(all, "job"),
        each.join(", ")
    );
    (all > 0).then(|| attend(Tone::Wait, "Blocked", text, "/queue?state=Blocked"))
}

/// What the controller says is wrong with a tenant.
fn conditions(shown: &Shown<'_>) -> impl Iterator<Item = Attention> {
    let tenants = shown.holdings.iter();
    let tenants = tenants.filter_map(|holding| shown.whole.tenants.get(&holding.tenant));
    tenants.filter_map(|tenant| {
        let conditions = &tenant.status.as_ref()?.conditions;
        let wrong = conditions
            .iter()
            .find(|condition| condition.status == "False")?;
        let name = tenant.metadata.name.as_deref().unwrap_or_default();
        let text = format!("{name}: {}", wrong.message);
        Some(attend(Tone::Wait, "Tenant", text, "/tenants"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{only, picture};
    use super::*;
    use crate::pages::picture::Sees;

    #[test]
    fn who_is_short_is_named_beside_whoever_holds_more_than_its_due() {
        let picture = picture();
        let (debtors, borrowers) = pairs(&picture.seen_by(&Sees::All));
        let told: Vec<_> = debtors
            .iter()
            .map(|d| {
                (
                    d.name.as_str(),
                    d.short.as_str(),
                    d.holders.clone(),
                    d.rest.as_str(),
                )
            })
            .collect();
        let vision = |gpus: &str| vec![("vision".to_owned(), gpus.to_owned())];
        assert_eq!(
            told,
            [
                ("speech", "8", vision("8"), ""),
                ("text", "4", vision("4"), "")
            ]
        );
        assert_eq!(
            (borrowers[0].name.as_str(), borrowers[0].over.as_str()),
            ("vision", "16")
        );
    }

    #[test]
    fn a_reader_of_one_tenant_hears_of_others_only_as_a_sum() {
        let picture = picture();
        let shown = picture.seen_by(&only(&[("speech", "speech")]));
        let html = page(&shown, &Board::default(), Frame::default())
            .html()
            .unwrap();
        for name in ["vision", "text", "red", "big", "llm"] {
            assert!(!html.contains(&format!(">{name}<")), "{name}\n{html}");
        }
        assert!(html.contains("everybody else <b>8</b>"), "{html}");
    }

    #[test]
    fn what_waits_is_told_by_reason() {
        let picture = picture();
        let waits = waits(&picture.seen_by(&Sees::All));
        assert_eq!(waits.len(), 1);
        let wait = &waits[0];
        let told = [&wait.reason, &wait.jobs, &wait.gpus, &wait.longest];
        assert_eq!(told, ["CapacityFull", "2", "12", "49m"]);
    }
}
