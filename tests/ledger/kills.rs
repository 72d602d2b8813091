//! The ledger of a real control plane whose controller is killed again and again: every pod's own
//! history agrees with its line, no line is there twice, and all lines and idle are the fleet.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use kube::api::ListParams;
use prorata_ledger::bill::{Kind, bill};
use prorata_ledger::price::{Price, Prices, Rate};
use prorata_ledger::price_file::PriceFile;
use prorata_ledger::record::{Extract, Hold};
use prorata_ledger::store::{Book, Purpose};
use tempfile::TempDir;

use super::load::{Dice, NOBODYS, job, stranger};
use crate::outage::world::{World, is_complete};

/// Longer than the controllers of tests hold a Lease.
const LEASE: Duration = Duration::from_secs(4);
/// How often the controller is killed.
const KILLS: u64 = 5;
/// Jobs that are submitted before each kill.
const JOBS: u64 = 5;
const TENANTS: [&str; 2] = ["red", "blue"];
const BLUE: &str = "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {name: blue}\n\
     spec: {displayName: Blue team, costCenter: c-7, department: research}\n";

#[tokio::test(flavor = "multi_thread")]
async fn each_pod_has_its_line_and_all_lines_are_the_fleet_however_often_we_die() {
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite://{}", directory.path().join("ledger.db").display());
    let ledger = format!("ledger: {{url: \"{url}\", heartbeat: 1s}}\n");
    let Some(mut world) = World::start_with(Duration::ZERO, &ledger).await else {
        return;
    };
    world.cluster.apply(BLUE);
    for tenant in TENANTS {
        world.namespace(tenant, Some(tenant)).await;
    }
    world.namespace(NOBODYS, None).await;
    let mut dice = Dice(0x5eed);
    for kill in 0..KILLS {
        let mut controller = world.controller().await;
        for n in 0..JOBS {
            let tenant = TENANTS[usize::try_from(dice.roll(2)).unwrap()];
            let job = job(&format!("j-{kill}-{n}"), 2, &mut dice);
            world.submit(tenant, &job).await;
            tokio::time::sleep(Duration::from_millis(dice.roll(700))).await;
        }
        if kill == 0 {
            stranger(&world).await;
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(2500))).await;
        controller.kill().unwrap();
        tokio::time::sleep(LEASE).await;
    }
    let mut controller = world.controller().await;
    for tenant in TENANTS {
        world
            .until_within("all is over", Duration::from_secs(120), async || {
                let jobs = world.jobs(tenant).list(&ListParams::default()).await;
                jobs.is_ok_and(|jobs| jobs.items.iter().all(is_complete))
            })
            .await;
    }
    let book = Book::open(&url, Purpose::Read).await.unwrap();
    world
        .until("the book says that nothing is held", async || {
            book.open_holds().await.unwrap().is_empty()
        })
        .await;
    controller.kill().unwrap();
    let kept_until = book.kept_until().await.unwrap().unwrap();
    let told = book.extract(0, kept_until + 1).await.unwrap();
    for tenant in TENANTS {
        let jobs = world.jobs(tenant).list(&ListParams::default()).await;
        let pods = world.pods(tenant).await;
        for job in jobs.unwrap() {
            agrees(&told, tenant, &job, &pods);
        }
    }
    let starts: BTreeSet<_> = told.holds.iter().map(|hold| &hold.id.job_uid).collect();
    let jobs = usize::try_from(KILLS * JOBS).unwrap();
    assert_eq!(starts.len(), jobs + 1, "the Jobs, and the stranger");
    let blue = told.holds.iter().find(|hold| hold.payer.tenant == "blue");
    let blue = &blue.unwrap().payer;
    assert_eq!([&*blue.cost_center, &*blue.department], ["c-7", "research"]);
    assert_eq!(told.names["blue"], "Blue team");
    adds_up(&told);
    print(&told);
    world.assert_healthy();
}

fn print(told: &Extract) {
    let is_estimated = |hold: &&Hold| hold.end.is_some_and(|end| end.estimated);
    println!(
        "{} holds, {} of them with an estimated end, {} gaps",
        told.holds.len(),
        told.holds.iter().filter(is_estimated).count(),
        told.gaps.len()
    );
}

/// The lines of a Job's last start, which began when all others had ended, are those of a place for
/// each of its pods, on its node, for all the time that it had it.
fn agrees(told: &Extract, tenant: &str, job: &Job, pods: &[Pod]) {
    let (uid, name) = (job.uid().unwrap(), job.name_any());
    let lines: Vec<&Hold> = told
        .holds
        .iter()
        .filter(|hold| hold.id.job_uid == uid)
        .collect();
    let last = lines.iter().map(|hold| hold.id.epoch).max().unwrap();
    let (lines, earlier): (Vec<_>, Vec<_>) =
        lines.into_iter().partition(|hold| hold.id.epoch == last);
    let began = lines.iter().map(|hold| hold.from_ms).min().unwrap();
    for line in earlier {
        assert!(line.end.unwrap().at_ms <= began, "{name}: {line:?}");
    }
    let mut ours: BTreeMap<String, u64> = BTreeMap::new();
    let mut theirs: BTreeMap<String, u64> = BTreeMap::new();
    for line in &lines {
        let who = (
            &*line.payer.tenant,
            &*line.payer.namespace,
            &*line.payer.user,
        );
        assert_eq!(who, (tenant, tenant, "alice"), "{name}");
        assert_eq!((&*line.kind, &*line.job), ("Job", &*name));
        *ours.entry(line.id.node.clone()).or_default() += line.gpu_milli;
    }
    let owned = |pod: &&Pod| pod.owner_references().iter().any(|owner| owner.uid == uid);
    for pod in pods.iter().filter(owned) {
        let spec = pod.spec.as_ref().unwrap();
        let limits = spec.containers[0]
            .resources
            .as_ref()
            .unwrap()
            .limits
            .as_ref();
        let gpus: u64 = limits.unwrap()["nvidia.com/gpu"].0.parse().unwrap();
        let node = spec.node_name.clone().unwrap();
        *theirs.entry(node.clone()).or_default() += gpus * 1000;
        let (bound, over) = history(pod);
        for line in lines.iter().filter(|line| line.id.node == node) {
            let end = line.end.unwrap();
            assert!(line.from_ms <= bound, "{name}: {line:?}: bound at {bound}");
            assert!(
                end.estimated || end.at_ms >= over,
                "{name}: {line:?}: over at {over}"
            );
        }
    }
    assert_eq!(
        ours, theirs,
        "{name}: each place once, where its pod ran: {lines:?}"
    );
}

/// When a pod was bound, and when its container was over.
fn history(pod: &Pod) -> (u64, u64) {
    let status = pod.status.as_ref().unwrap();
    let mut conditions = status.conditions.iter().flatten();
    let bound = conditions
        .find(|condition| condition.type_ == "PodScheduled")
        .unwrap();
    let state = status.container_statuses.as_ref().unwrap()[0]
        .state
        .as_ref()
        .unwrap();
    let over = state
        .terminated
        .as_ref()
        .unwrap()
        .finished_at
        .as_ref()
        .unwrap();
    let ms = |time: &Time| u64::try_from(time.0.as_millisecond()).unwrap();
    (ms(bound.last_transition_time.as_ref().unwrap()), ms(over))
}

/// At one unit for each GPU-second: the lines and idle are two nodes of four GPUs, and at no moment was
/// more held of a node than it had.
fn adds_up(told: &Extract) {
    let price = Price {
        model: String::new(),
        pool: None,
        priority_class: None,
        rate: Rate::Hourly(3_600_000_000),
        from_ms: 0,
        until_ms: None,
        source: String::new(),
    };
    let file = PriceFile {
        prices: Prices::new([price]).unwrap(),
        ..PriceFile::default()
    };
    let bill = bill(told, &file).unwrap();
    let begun = told.stock.iter().map(|stock| stock.from_ms).min().unwrap();
    let seconds = i128::from(told.kept_until_ms - begun) / 1000;
    let all: i128 = bill.lines.iter().map(|line| line.micros).sum();
    assert_eq!(all, seconds * 8 * 1_000_000);
    let idle = bill
        .lines
        .iter()
        .filter(|line| matches!(line.kind, Kind::Idle));
    assert!(idle.map(|line| line.micros).sum::<i128>() > 0);
}
