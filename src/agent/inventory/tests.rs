use std::sync::Arc;

use super::super::kubelet::device::device;
use super::super::kubelet::{Error, Given, Grant, Word};
use super::super::occupants::Found;
use super::super::reading::{self, Seen, Silence, Xid};
use super::*;
use crate::api::gpunode::{GpuDriver, KUBELET_ANSWERS, Peer};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn inventory() -> Inventory {
    Inventory::new(Duration::from_secs(60))
}

fn gpu(index: u32, uuid: &str, peers: &[u32]) -> Card {
    let peers = peers.iter().map(|&index| Peer {
        index,
        ..Peer::default()
    });
    Card::Seen(Box::new(Seen {
        identity: Arc::new(Gpu {
            index,
            uuid: Some(uuid.to_owned()),
            peers: peers.collect(),
            ..Gpu::default()
        }),
        ..Seen::default()
    }))
}

fn silent(index: u32, why: Silence) -> Card {
    Card::Silent { index, why }
}

fn taken(cards: Vec<Card>) -> Look {
    Look::Taken(Reading {
        driver: GpuDriver::default(),
        cards,
        xids: Vec::new(),
    })
}

fn healths(inventory: &Inventory) -> Vec<(u32, Option<&str>, Health)> {
    let gpus = inventory.status().gpus.iter();
    gpus.map(|gpu| (gpu.index, gpu.uuid.as_deref(), gpu.health))
        .collect()
}

fn condition<'a>(inventory: &'a Inventory, name: &str) -> &'a Condition {
    let mut conditions = inventory.status().conditions.iter();
    conditions
        .find(|condition| condition.type_ == name)
        .unwrap()
}

#[test]
fn what_is_the_same_is_told_the_same() {
    let mut inventory = inventory();
    inventory.observe(at(0), &taken(vec![gpu(0, "a", &[])]));
    let told = continued(inventory.status().clone(), None, Some(1));
    assert_eq!((told.inventory, told.count, told.healthy), (1, 1, 1));
    inventory.observe(at(60), &taken(vec![gpu(0, "a", &[])]));
    assert_eq!(
        continued(inventory.status().clone(), Some(&told), Some(1)),
        told
    );
    let mut next = self::inventory();
    next.observe(at(120), &taken(vec![gpu(0, "a", &[])]));
    let again = continued(next.status().clone(), Some(&told), Some(1));
    assert_eq!(again, told, "nor after a restart");
    next.observe(at(121), &taken(vec![gpu(0, "b", &[])]));
    let other = continued(next.status().clone(), Some(&told), Some(1));
    assert_eq!(other.inventory, 2);
}

#[test]
fn after_a_restart_a_silent_card_is_still_what_it_was() {
    let mut before = inventory();
    before.observe(at(0), &taken(vec![gpu(0, "a", &[1]), gpu(1, "b", &[0])]));
    let told = continued(before.status().clone(), None, None);
    let mut after = inventory();
    let lost = vec![gpu(0, "a", &[]), silent(1, Silence::Lost)];
    after.observe(at(1), &taken(lost));
    assert_eq!(after.status().gpus[1].uuid, None);
    let now = continued(after.status().clone(), Some(&told), None);
    assert_eq!(now.gpus[1].uuid.as_deref(), Some("b"));
    assert_eq!(now.gpus[1].health, Health::Lost);
    assert_eq!(now.gpus[0].peers.len(), 1, "the way is kept");
    assert_eq!(now.inventory, 1, "no other cards");
}

#[test]
fn a_driver_that_is_away_at_the_start_has_no_other_cards() {
    let mut before = inventory();
    before.observe(at(0), &taken(vec![gpu(0, "a", &[1]), gpu(1, "b", &[0])]));
    let told = continued(before.status().clone(), None, None);
    let mut after = inventory();
    after.observe(
        at(1),
        &Look::Failed(reading::Error::NoDriver("loading".to_owned())),
    );
    let away = continued(after.status().clone(), Some(&told), None);
    assert_eq!((away.count, away.healthy, away.inventory), (2, 0, 1));
    assert!(
        away.gpus
            .iter()
            .all(|gpu| gpu.health == Health::Unresponsive)
    );
    assert_eq!(away.gpus[1].uuid.as_deref(), Some("b"));
    assert_eq!(continued(after.status().clone(), Some(&away), None), away);
    after.observe(at(2), &taken(vec![gpu(0, "a", &[1]), gpu(1, "b", &[0])]));
    let back = continued(after.status().clone(), Some(&away), None);
    assert_eq!((back.count, back.healthy, back.inventory), (2, 2, 1));
}

#[test]
fn a_silent_card_is_still_what_it_was() {
    let mut inventory = inventory();
    inventory.observe(at(0), &taken(vec![gpu(0, "a", &[1]), gpu(1, "b", &[0])]));
    let lost = vec![gpu(0, "a", &[]), silent(1, Silence::Lost)];
    inventory.observe(at(1), &taken(lost));
    assert_eq!(
        healths(&inventory),
        [
            (0, Some("a"), Health::Healthy),
            (1, Some("b"), Health::Lost)
        ]
    );
    assert_eq!(inventory.status().gpus[0].peers.len(), 1, "the way is kept");
    let told = condition(&inventory, GPUS_HEALTHY);
    assert_eq!(
        (told.status.as_str(), told.message.as_str()),
        ("False", "GPU 1 is Lost: the driver has lost it")
    );
}

#[test]
fn one_that_is_not_listed_any_more_is_lost_although_another_has_its_number() {
    let mut inventory = inventory();
    let all = vec![gpu(0, "a", &[]), gpu(1, "b", &[]), gpu(2, "c", &[])];
    inventory.observe(at(0), &taken(all));
    inventory.observe(at(1), &taken(vec![gpu(0, "a", &[]), gpu(1, "c", &[])]));
    let missing = [
        (0, Some("a"), Health::Healthy),
        (1, Some("c"), Health::Healthy),
        (2, Some("b"), Health::Lost),
    ];
    assert_eq!(healths(&inventory), missing);
    inventory.observe(at(2), &taken(vec![gpu(0, "a", &[]), gpu(1, "c", &[])]));
    assert_eq!(healths(&inventory), missing, "and stays so");
}

#[test]
fn a_driver_that_is_away_for_a_moment_is_not_told() {
    let mut inventory = inventory();
    let gone = Look::Failed(reading::Error::Ended("reloaded".to_owned()));
    inventory.observe(at(0), &taken(vec![gpu(0, "a", &[])]));
    let before = inventory.status().clone();
    inventory.observe(at(1), &gone);
    inventory.observe(at(2), &gone);
    assert_eq!(*inventory.status(), before);
    inventory.observe(at(3), &gone);
    assert_eq!(healths(&inventory), [(0, Some("a"), Health::Unresponsive)]);
    assert_eq!(condition(&inventory, DRIVER_READY).reason, "Ended");
    assert_eq!(condition(&inventory, GPUS_HEALTHY).status, "Unknown");
    inventory.observe(at(4), &taken(vec![gpu(0, "a", &[])]));
    assert_eq!(healths(&inventory), [(0, Some("a"), Health::Healthy)]);
    assert_eq!(
        condition(&inventory, DRIVER_READY).last_transition_time.0,
        at(4)
    );
}

#[test]
fn no_driver_at_all_is_told_at_once() {
    let mut inventory = inventory();
    let none = Look::Failed(reading::Error::NoLibrary("no such file".to_owned()));
    inventory.observe(at(0), &none);
    let told = condition(&inventory, DRIVER_READY);
    assert_eq!(
        (told.status.as_str(), told.reason.as_str()),
        ("False", "NoLibrary")
    );
    assert_eq!(inventory.status().count, 0);
}

#[test]
fn an_error_is_held_against_its_card_until_the_driver_is_loaded_anew() {
    let mut inventory = inventory();
    let cards = vec![gpu(0, "a", &[]), gpu(1, "b", &[])];
    let xid = Xid {
        card: 1,
        code: Some(48),
    };
    let told = Look::Taken(Reading {
        driver: GpuDriver::default(),
        cards: cards.clone(),
        xids: vec![xid],
    });
    inventory.observe(at(0), &told);
    assert_eq!(inventory.status().healthy, 1);
    assert_eq!(inventory.status().gpus[1].health, Health::Unhealthy);
    inventory.observe(at(1), &Look::Failed(reading::Error::Ended(String::new())));
    inventory.observe(at(2), &taken(cards));
    assert_eq!(inventory.status().healthy, 2);
}

#[test]
fn until_the_kubelet_is_heard_what_was_told_of_pods_stands() {
    let found = Found::new();
    let given = |pods: &[&str]| Given {
        grants: pods.iter().map(|pod| grant(pod)).collect(),
        slots: [("GPU-a".to_owned(), 4)].into(),
    };
    let cards = || taken(vec![gpu(0, "GPU-a", &[])]);
    let mut before = inventory();
    before.observe(at(0), &cards());
    before.occupy(at(0), None, &found, Word::Given(&given(&["train"])));
    let told = continued(before.status().clone(), None, None);
    assert_eq!(told.gpus[0].pods[0].name, "train");
    assert_eq!(told.mode.as_deref(), Some("timeslice-4"));

    let mut after = inventory();
    after.observe(at(9), &cards());
    after.occupy(at(9), None, &found, Word::Unheard);
    let again = continued(after.status().clone(), Some(&told), None);
    assert_eq!(again, told, "a restart of the agent writes nothing");
    let late = Error::Late(Duration::from_secs(5));
    let word = Word::Away(&late, None);
    after.occupy(at(10), None, &found, word);
    let away = continued(after.status().clone(), Some(&told), None);
    assert_eq!(away.gpus[0].pods, []);
    assert_eq!(condition(&after, KUBELET_ANSWERS).reason, "Late");
    after.occupy(at(11), None, &found, Word::Given(&given(&["train"])));
    let back = continued(after.status().clone(), Some(&away), None);
    assert_eq!(back.gpus, told.gpus);
    assert_eq!((told.occupancy, away.occupancy, back.occupancy), (0, 1, 2));
    assert_eq!(back.inventory, told.inventory, "the cards are the same");
}

fn grant(pod: &str) -> Grant {
    Grant {
        namespace: "red".to_owned(),
        pod: pod.to_owned(),
        uid: None,
        container: "main".to_owned(),
        device: device("GPU-a::1").unwrap(),
    }
}

#[test]
fn clients_that_could_not_be_ended_are_told_until_they_are() {
    use crate::api::gpunode::{CLIENTS_END, Ended, Ending};
    let told = |inventory: &Inventory| {
        let conditions = &inventory.status().conditions;
        let condition = conditions.iter().find(|c| c.type_ == CLIENTS_END)?;
        let since = condition.last_transition_time.0.as_second();
        Some((condition.status.clone(), condition.message.clone(), since))
    };
    let ended = |how| Ended {
        uid: "u".to_owned(),
        how,
        message: Some("no server below /run/nvidia/mps".to_owned()),
    };
    let mut inventory = inventory();
    inventory.end(at(1), vec![ended(Ending::Terminated)]);
    assert_eq!(told(&inventory), None);
    for second in [2, 3] {
        inventory.end(at(second), vec![ended(Ending::Failed)]);
        let why = "no server below /run/nvidia/mps".to_owned();
        assert_eq!(told(&inventory), Some(("False".to_owned(), why, 2)));
    }
    inventory.end(at(4), Vec::new());
    assert_eq!(
        told(&inventory),
        Some(("True".to_owned(), String::new(), 4))
    );
    assert_eq!(inventory.status().ended, []);
}

#[test]
fn what_the_controller_wrote_stays() {
    let told: GpuNodeStatus = serde_json::from_value(serde_json::json!({
        "repartition": {
            "from": "exclusive", "to": "mps-4", "cause": "Spec", "step": "Await",
            "since": "2026-01-01T00:00:00Z",
        },
        "demand": {"to": "mps-8", "since": "2026-01-01T00:00:00Z"},
        "proposal": {"to": "mps-8", "since": "2026-01-01T00:00:00Z", "message": "jobs wait"},
    }))
    .unwrap();
    let seen = continued(GpuNodeStatus::default(), Some(&told), Some(1));
    assert_eq!(seen.repartition, told.repartition);
    assert_eq!(seen.demand, told.demand);
    assert_eq!(seen.proposal, told.proposal);
}
