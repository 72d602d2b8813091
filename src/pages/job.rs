//! One job: what `prorata explain` says.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use prorata_dashboard::{Course, Frame, Job};

use super::picture::Shown;
use super::tone;
use crate::cli::explain::{Happened, explanation};
use crate::cli::queue::{self, Entry};
use crate::cli::{list, words};

/// The job of this name, where it may be seen.
pub(super) fn find<'a>(shown: &Shown<'a>, namespace: &str, name: &str) -> Option<&'a Entry> {
    let here = shown.entries.iter().copied();
    let here = here.filter(|entry| entry.namespace == namespace && entry.name == name);
    queue::newest(here)
}

/// The page.
pub(super) fn page(shown: &Shown<'_>, entry: &Entry, events: Vec<Happened>, frame: Frame) -> Job {
    let beside = shown
        .entries
        .iter()
        .filter(|other| other.tenant == entry.tenant);
    let beside: Vec<Entry> = beside.map(|other| (*other).clone()).collect();
    let mut holdings = shown.holdings.iter();
    let holds = holdings.find(|holding| holding.tenant == entry.tenant);
    let now = shown.whole.at;
    let told = explanation(entry.clone(), &beside, holds.cloned(), events, now);
    Job {
        frame,
        namespace: entry.namespace.clone(),
        name: entry.name.clone(),
        state: entry.standing().to_owned(),
        tone: tone(list::tone(entry)),
        standing: standing(&told.place()),
        course: course(entry, now),
        fields: told.fields(now),
    }
}

/// ` (CapacityFull), position 1 of 2` without what belongs to a headline.
fn standing(place: &str) -> String {
    let bare = place.trim_start_matches([',', ' ']);
    bare.replacen('(', "", 1).replacen(')', "", 1)
}

/// How long it has waited and still waits, where it does and that has been foretold.
fn course(entry: &Entry, now: Timestamp) -> Option<Course> {
    let told = entry.forecast.as_ref().filter(|_| entry.is_in_line())?;
    let left = |moment: &Option<String>| {
        let at: Timestamp = moment.as_deref()?.parse().ok()?;
        Some(words::between(now, at))
    };
    let (waited, half) = (entry.waited(now), left(&told.p50)?);
    let most = left(&told.p90);
    let later = most
        .map(|most| most.saturating_sub(half))
        .unwrap_or_default();
    let all = (waited + half + later).as_secs().max(1);
    let part = |span: Duration| span.as_secs() * 1000 / all;
    Some(Course {
        waited: part(waited),
        half: part(half),
        most: part(later),
        has_waited: format!("has waited {}", words::span(waited)),
        starts_half: format!("starts within {}, as likely as not", words::span(half)),
        starts_most: most
            .map(|most| format!("within {}, nine times out of ten", words::span(most)))
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{facts, picture};
    use super::*;
    use crate::cli::queue::tests::entry;
    use crate::pages::picture::{Picture, Sees};
    use serde_json::json;

    #[test]
    fn says_what_explain_says() {
        let picture = picture();
        let shown = picture.seen_by(&Sees::All);
        let found = find(&shown, "speech", "asr").unwrap();
        let html = page(&shown, found, Vec::new(), Frame::default())
            .html()
            .unwrap();
        for text in [
            "CapacityFull, position 1 of 1 in the queue of speech",
            "8 GPUs in 2 pods, tenant speech, priority 0, waiting 49m",
            "speech holds 0 GPUs, owns 16; 1 job in line for 8 GPUs",
            "ask for fewer pods or fewer GPUs",
        ] {
            assert!(html.contains(text), "{text}\n{html}");
        }
        assert!(find(&shown, "speech", "big").is_none());
    }

    #[test]
    fn the_course_of_a_wait_is_drawn_to_scale() {
        let forecast = json!({
            "position": 1, "detail": "", "asOf": "",
            "p50": "1970-01-01T01:06:40Z", "p90": "1970-01-01T01:23:20Z",
        });
        let job = entry("a", 0, json!({"status": {"forecast": forecast}}));
        let now = Timestamp::from_second(3_000).unwrap();
        let course = course(&job, now).unwrap();
        assert_eq!((course.waited, course.half, course.most), (600, 200, 200));
        assert_eq!(course.starts_most, "within 33m, nine times out of ten");
    }

    #[test]
    fn nothing_that_a_tenant_writes_becomes_markup() {
        let hostile = "<img src=x onerror=alert(1)>'\"&";
        let mut facts = facts();
        let forecast = json!({"position": 1, "detail": hostile, "asOf": hostile, "p50": hostile});
        let job = entry(
            hostile,
            60,
            json!({
                "metadata": {"namespace": hostile},
                "spec": {"tenant": hostile, "gpus": hostile},
                "status": {"reason": hostile, "message": hostile, "forecast": forecast},
            }),
        );
        facts.entries.push(job);
        facts.tenants[0].spec.display_name = Some(hostile.to_owned());
        facts.tenants[0].spec.owner = Some(hostile.to_owned());
        let picture = Picture::new(facts, Timestamp::from_second(3_000).unwrap());
        let shown = picture.seen_by(&Sees::All);
        let found = find(&shown, hostile, hostile).unwrap();
        let board = super::super::board::Board::default();
        let frame = Frame::default;
        let pages = [
            page(&shown, found, Vec::new(), frame()).html().unwrap(),
            super::super::queue::page(&shown, &Default::default(), frame())
                .html()
                .unwrap(),
            super::super::overview::page(&shown, &board, frame())
                .html()
                .unwrap(),
            super::super::share::page(&shown, &board, frame())
                .html()
                .unwrap(),
            super::super::tenants::page(&shown, &board, frame())
                .html()
                .unwrap(),
            super::super::gpus::page(&shown, frame()).html().unwrap(),
        ];
        for html in pages {
            assert!(!html.contains("<img"), "{html}");
            assert!(!html.contains("='\"&"), "{html}");
        }
    }
}
