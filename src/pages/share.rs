//! What each tenant holds beside what is due to it.

use prorata_dashboard::{Frame, Share, Shares};

use super::board::Board;
use super::picture::Shown;
use super::tone;
use crate::cli::shares::Holding;
use crate::cli::words::gpus;
use crate::cli::{output, share};

/// Tenants that have a chart of their own.
const DRAWN: usize = 8;

/// The page.
pub(super) fn page(shown: &Shown<'_>, board: &Board, frame: Frame) -> Shares {
    let (timeline, since) = board.timeline(shown);
    let rows = || shown.holdings.iter().chain(&shown.others);
    let most = rows().map(|h| {
        h.held_milli_gpus
            .max(h.entitled_milli_gpus.unwrap_or_default())
    });
    let scale = most.max().unwrap_or_default().max(1);
    Shares {
        frame,
        rows: rows().map(|holding| row(holding, scale)).collect(),
        more: timeline.strands.len().saturating_sub(DRAWN),
        timeline,
        since,
    }
}

fn row(holding: &Holding, scale: u64) -> Share {
    let optional = |amount: Option<u64>| amount.map(gpus).unwrap_or_default();
    let cells = |amount: u64| amount.saturating_mul(1000) / scale;
    let found = share::tone(holding);
    let word = match found {
        output::Tone::Wait => "borrows",
        output::Tone::Bad => "short",
        output::Tone::Dim => "idle",
        output::Tone::Good | output::Tone::Plain => "even",
    };
    Share {
        name: holding.tenant.clone(),
        depth: holding.depth.min(4),
        word: word.to_owned(),
        tone: tone(found),
        held: gpus(holding.held_milli_gpus),
        due: optional(holding.entitled_milli_gpus),
        guaranteed: optional(Some(holding.guaranteed_milli_gpus).filter(|amount| *amount > 0)),
        limit: optional(holding.limit_milli_gpus),
        borrowed: optional(holding.borrowed_milli_gpus),
        asked: gpus(holding.waiting_milli_gpus),
        running: holding.running.to_string(),
        waiting: holding.waiting.to_string(),
        weight: holding.weight.clone(),
        share: holding.share.clone().unwrap_or_default(),
        bar: cells(holding.held_milli_gpus),
        mark: holding.entitled_milli_gpus.map(|due| cells(due).min(990)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::picture;
    use super::*;
    use crate::pages::picture::Sees;

    #[test]
    fn who_is_short_and_who_borrows_is_told_as_the_command_does() {
        let picture = picture();
        let shares = page(
            &picture.seen_by(&Sees::All),
            &Board::default(),
            Frame::default(),
        );
        let told: Vec<_> = shares
            .rows
            .iter()
            .map(|r| {
                (
                    r.name.as_str(),
                    r.word.as_str(),
                    r.held.as_str(),
                    r.due.as_str(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("blue", "short", "0", "16"),
                ("speech", "short", "0", "16"),
                ("red", "borrows", "24", "16"),
                ("text", "short", "0", "8"),
                ("vision", "borrows", "24", "8"),
            ]
        );
    }
}
