//! The table in the documentation names what is in the code.

use std::collections::BTreeSet;

use prorata::api::labels::{CHECKPOINTED_AT, GANG, GANG_SIZE, GATE, PREEMPTIBLE};
use prorata::kinds::{COMPOSITES, Suspend};

const PAGE: &str = include_str!("../../docs/kinds.md");

#[test]
fn the_page_names_every_annotation_and_no_other() {
    let known = BTreeSet::from([
        GANG,
        GANG_SIZE,
        GATE,
        PREEMPTIBLE,
        CHECKPOINTED_AT,
        "prorata.dev/Checkpointed",
    ]);
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

/// Its line in the table, and what is said of each below: its version, and its own suspend field.
#[test]
fn the_page_names_every_kind_of_an_operator_and_no_other() {
    let row = PAGE
        .lines()
        .find(|line| line.starts_with("| [objects of operators]"));
    let cell = row.unwrap().split('|').nth(1).unwrap();
    let named = cell.split_once("): ").unwrap().1;
    let named: BTreeSet<&str> = named.split([',', ';']).map(str::trim).collect();
    let known: BTreeSet<&str> = COMPOSITES.iter().map(|kind| kind.kind).collect();
    assert_eq!(named, known);

    let section = PAGE.split_once("## Objects of operators\n").unwrap().1;
    let section = section.split_once("\nThe policies for them").unwrap().0;
    let bullets: Vec<String> = section
        .split("\n* ")
        .map(|bullet| bullet.replace("\n  ", " "))
        .collect();
    for kind in &COMPOSITES {
        let says = |bullet: &&String| bullet.contains(kind.kind) && bullet.contains(kind.group());
        let bullet = bullets.iter().find(says);
        let bullet = bullet.unwrap_or_else(|| panic!("{} is not described", kind.kind));
        let field = match kind.suspend {
            Suspend::Spec => "by `spec.suspend`",
            Suspend::RunPolicy => "by `spec.runPolicy.suspend`",
        };
        assert!(
            bullet.contains(field) && bullet.contains(kind.version()),
            "{bullet}"
        );
    }
}
