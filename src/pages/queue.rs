//! The queue, a part at a time.

use std::collections::BTreeSet;

use prorata_dashboard::{Choice, Filter, Frame, Queue, Row};
use serde::Deserialize;

use super::picture::Shown;
use super::tone;
use crate::api::State;
use crate::cli::queue::Entry;
use crate::cli::{list, words};

/// Rows of one page.
const ROWS: usize = 100;

/// Where jobs may stand, as they are shown.
const STANDINGS: [&str; 5] = ["Admitted", "Waiting", "Blocked", "Held", "Finished"];

/// What a reader asks for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    text: String,
    tenant: String,
    state: String,
    reason: String,
    page: String,
}

/// The page.
pub(super) fn page(shown: &Shown<'_>, asked: &Asked, frame: Frame) -> Queue {
    let fits = |entry: &&&Entry| asked.wants(entry);
    let matching: Vec<&Entry> = shown.entries.iter().filter(fits).copied().collect();
    let pages = matching.len().div_ceil(ROWS).max(1);
    let page = asked.page.parse().unwrap_or(1).clamp(1, pages);
    let first = (page - 1) * ROWS;
    let rows = matching.iter().skip(first).take(ROWS);
    Queue {
        frame,
        filter: filter(shown, asked),
        matching: matching.len(),
        all: shown.entries.len(),
        first: first + 1,
        rows: rows.map(|entry| row(entry, shown)).collect(),
        previous: (page > 1).then(|| page - 1),
        next: (page < pages).then_some(page + 1),
    }
}

impl Asked {
    fn wants(&self, entry: &Entry) -> bool {
        let any = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
        let state = match self.state.as_str() {
            "" => entry.state != State::Finished,
            state => entry.standing() == state,
        };
        let text = self.text.trim();
        let named = text.is_empty() || entry.name.contains(text) || entry.namespace.contains(text);
        let reason = self.reason.is_empty() || reason(entry) == self.reason;
        state && named && reason && any(&self.tenant, &entry.tenant)
    }
}

fn filter(shown: &Shown<'_>, asked: &Asked) -> Filter {
    let entries = || shown.entries.iter();
    let tenants: BTreeSet<&str> = entries().map(|entry| entry.tenant.as_str()).collect();
    let reasons: BTreeSet<&str> = entries().map(|entry| reason(entry)).collect();
    let reasons = reasons.into_iter().filter(|reason| !reason.is_empty());
    Filter {
        text: asked.text.chars().take(100).collect(),
        tenants: choices(tenants, &asked.tenant),
        states: choices(STANDINGS, &asked.state),
        reasons: choices(reasons, &asked.reason),
    }
}

/// What was chosen stays chosen, even if there is none of it any more.
fn choices<'a>(known: impl IntoIterator<Item = &'a str>, asked: &'a str) -> Vec<Choice> {
    let mut names: Vec<&str> = known.into_iter().collect();
    if !asked.is_empty() && !names.contains(&asked) {
        names.push(asked);
    }
    let choice = |name: &str| Choice {
        name: name.to_owned(),
        chosen: name == asked,
    };
    names.into_iter().map(choice).collect()
}

/// Why it waits; nothing where it does not.
fn reason(entry: &Entry) -> &str {
    match entry.state {
        State::Waiting | State::Held => &entry.reason,
        State::Admitted | State::Finished => "",
    }
}

fn row(entry: &Entry, shown: &Shown<'_>) -> Row {
    let now = shown.whole.at;
    let position = entry.position.map(|position| position.to_string());
    let reason = reason(entry);
    let message = if reason.is_empty() {
        ""
    } else {
        &entry.message
    };
    Row {
        namespace: entry.namespace.clone(),
        name: entry.name.clone(),
        tenant: entry.tenant.clone(),
        gpus: entry.shown_gpus().to_owned(),
        priority: entry.priority.to_string(),
        state: entry.standing().to_owned(),
        tone: tone(list::tone(entry)),
        position: position.unwrap_or_default(),
        wait: words::span(entry.waited(now)),
        starts: entry.starts(now),
        reason: reason.to_owned(),
        message: message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{facts, only, picture};
    use super::*;
    use crate::cli::queue::tests::entry;
    use crate::pages::picture::{Picture, Sees};
    use k8s_openapi::jiff::Timestamp;
    use serde_json::json;

    fn asked(query: serde_json::Value) -> Asked {
        serde_json::from_value(query).unwrap()
    }

    #[test]
    fn five_thousand_jobs_come_a_hundred_at_a_time_and_say_how_many_follow() {
        let mut facts = facts();
        let job = |n| entry(&format!("job-{n:04}"), n, json!({}));
        facts.entries.extend((0..5_000).map(job));
        let picture = Picture::new(facts, Timestamp::from_second(9_000).unwrap());
        let shown = picture.seen_by(&Sees::All);
        let first = page(&shown, &Asked::default(), Frame::default());
        assert_eq!(
            (first.rows.len(), first.matching, first.next),
            (100, 5_003, Some(2))
        );
        let html = first.html().unwrap();
        assert!(
            html.contains("Jobs 1 to 100 of 5003; 4903 more follow."),
            "{html}"
        );
        let last = page(&shown, &asked(json!({"page": "999"})), Frame::default());
        assert_eq!((last.rows.len(), last.first, last.next), (3, 5_001, None));
        let one = page(
            &shown,
            &asked(json!({"text": "job-0042"})),
            Frame::default(),
        );
        assert_eq!((one.rows.len(), one.rows[0].name.as_str()), (1, "job-0042"));
    }

    #[test]
    fn a_reader_is_not_told_who_else_there_is() {
        let picture = picture();
        let shown = picture.seen_by(&only(&[("text", "text")]));
        let queue = page(&shown, &Asked::default(), Frame::default());
        assert_eq!((queue.all, queue.filter.tenants.len()), (1, 1));
        let html = queue.html().unwrap();
        assert!(!html.contains("vision") && !html.contains("asr"), "{html}");
    }

    #[test]
    fn what_a_reader_asks_for_is_written_as_text() {
        let hostile = "\"><script>alert(1)</script>";
        let query =
            json!({"text": hostile, "tenant": hostile, "state": hostile, "reason": hostile});
        let picture = picture();
        let shown = picture.seen_by(&Sees::All);
        let html = page(&shown, &asked(query), Frame::default())
            .html()
            .unwrap();
        assert!(!html.contains("<script>alert"), "{html}");
        assert!(html.contains("No job is so; 3 in all."), "{html}");
    }
}
