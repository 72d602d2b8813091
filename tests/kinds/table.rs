//! The table in the documentation names what is in the code.

use std::collections::BTreeSet;

use prorata::api::labels::{GANG, GANG_SIZE, GATE, PREEMPTIBLE};

const PAGE: &str = include_str!("../../docs/kinds.md");

#[test]
fn the_page_names_every_annotation_and_no_other() {
    let known = BTreeSet::from([GANG, GANG_SIZE, GATE, PREEMPTIBLE]);
    let mut named = BTreeSet::new();
    for start in PAGE.match_indices("prorata.dev/").map(|(at, _)| at) {
        let rest = &PAGE[start..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "./-".contains(c)));
        named.insert(&rest[..end.unwrap_or(rest.len())]);
    }
    assert_eq!(named, known);
}

#[test]
fn each_kind_says_how_it_is_held_counted_and_ended() {
    let rows = PAGE.lines().filter(|line| line.starts_with("| "));
    let rows: Vec<usize> = rows.map(|row| row.matches(" |").count()).collect();
    assert!(
        rows.len() > 9 && rows.iter().all(|cells| *cells >= 6),
        "{rows:?}"
    );
}
