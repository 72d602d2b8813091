//! A tenant's own user, with the rights that Kubernetes gives an administrator of one namespace,
//! tries what would give her more than her share. The table of `docs/threats.md` is what this test
//! observes; `BLESS=1` writes it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod around;
mod claims;
mod crowd;
mod immunity;
mod objects;
mod orphans;
mod pools;
mod queue;
mod world;

use std::fs;
use std::path::Path;

use world::World;

/// What was tried, and what was observed.
struct Row {
    attack: String,
    observed: String,
}

/// A row of the table.
fn row(attack: &str, observed: impl Into<String>) -> Row {
    Row {
        attack: attack.to_owned(),
        observed: observed.into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_tenant_gets_no_more_than_its_share() {
    let Some(world) = World::start().await else {
        return;
    };
    let mut table = Vec::new();
    table.extend(queue::attacks(&world).await);
    table.extend(around::attacks(&world).await);
    table.extend(objects::attacks(&world).await);
    table.extend(crowd::attack(&world).await);
    world.assert_unharmed_later("a flood of Jobs").await;
    table.extend(immunity::attacks(&world).await);
    world.remember().await;
    table.extend(pools::attacks(&world).await);
    world.assert_unharmed_later("all of it").await;
    drop(world);
    let Some(world) = World::start().await else {
        return;
    };
    table.extend(orphans::attacks(&world).await);
    compare(&table);
}

/// Compares the table of the documentation with what was observed.
fn compare(table: &[Row]) {
    const MARK: &str = "<!-- observed by tests/hostile -->\n";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threats.md");
    let text = fs::read_to_string(&file).unwrap();
    let mut parts = text.splitn(3, MARK);
    let (head, _, tail) = (parts.next(), parts.next(), parts.next());
    let (head, tail) = head.zip(tail).expect("two marks around the table");
    let lines = table
        .iter()
        .map(|row| format!("| {} | {} |\n", row.attack, row.observed));
    let lines: String = lines.collect();
    let wanted = format!("{head}{MARK}\n| attempt | observed |\n|---|---|\n{lines}\n{MARK}{tail}");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, &wanted).unwrap();
    }
    let recorded = fs::read_to_string(&file).unwrap();
    assert!(
        recorded == wanted,
        "docs/threats.md differs; `BLESS=1 cargo test --test live hostile` records:\n{lines}"
    );
}
