//! Who is said to hold what, from when to when.

use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::accounting::{Accounting, Accounts, Listener};
use crate::effects::{Failure, Outcome};
use crate::translate::{JobView, RecordView, TenantView};
use prorata_core::Time;
use prorata_ledger::entry::{Entry, Held};
use prorata_ledger::record::{End, Stock, Why};

/// When the driver begins, in milliseconds of Unix time.
const NOW_MS: u64 = 1_767_225_600_700;
/// The same to the second, as everything is accounted for.
const NOW: u64 = NOW_MS - 700;

struct World {
    driver: Driver,
    accounts: watch::Receiver<Accounts>,
}

impl World {
    /// A node of four GPUs, and the namespace of an environment of the team red.
    fn start(more: &[Object]) -> Self {
        let config = Config::new("http://127.0.0.1:1".parse().unwrap());
        let writer = Writer::new(Client::try_from(config).unwrap(), GPU);
        let settings = Settings {
            gpu_resource: GPU.to_owned(),
            ..Settings::default()
        };
        let (accounting, Listener { accounts, .. }) = Accounting::begin(GPU);
        let clock = Clock::set(Time::from_millis(NOW_MS));
        let driver = Driver::new(settings, writer, Views::default()).repeatable(clock);
        let mut world = Self {
            driver: driver.accounting(accounting),
            accounts,
        };
        let red = tenant(
            "red",
            json!({}),
            json!({"displayName": "Red team", "costCenter": "c-7"}),
        );
        let labels = json!({"prorata.dev/team": "red", "prorata.dev/environment": "dev"});
        let dev = tenant("red-dev", labels, json!({"parent": "red"}));
        let namespace = Object::Namespace("ml-red-dev".to_owned(), Some("red-dev".into()));
        let own = [node(4), red, dev, namespace];
        for kind in Kind::ALL {
            let of_kind = own
                .iter()
                .chain(more)
                .filter(|object| object.kind() == kind);
            let listed = Change::Listed(kind, of_kind.cloned().collect());
            world.driver.take_up([listed].into_iter());
        }
        world
    }

    async fn after(&mut self, seconds: u64, changes: Vec<Change>) {
        tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
        self.driver.take_up(changes.into_iter());
    }

    fn accounts(&self) -> Accounts {
        self.accounts.borrow().clone()
    }

    fn held(&self) -> Vec<Held> {
        let accounts = self.accounts();
        accounts
            .held
            .values()
            .map(|held| Held::clone(held))
            .collect()
    }

    /// What has happened since so many entries.
    fn since(&self, number: u64) -> Vec<Entry> {
        self.accounts().since(number).unwrap()
    }
}

fn from<R: serde::de::DeserializeOwned>(manifest: Value) -> R {
    serde_json::from_value(manifest).unwrap()
}

pub(super) fn node(gpus: u32) -> Object {
    let labels = json!({"nvidia.com/gpu.product": "L4", "prorata.dev/node-pool": "blue"});
    let node: k8s_openapi::api::core::v1::Node = from(json!({
        "metadata": {"name": "a", "labels": labels},
        "status": {
            "allocatable": {"nvidia.com/gpu": gpus.to_string()},
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }));
    Object::Node(crate::translate::node(&node, GPU), true)
}

pub(super) fn tenant(name: &str, labels: Value, spec: Value) -> Object {
    let tenant: crate::api::Tenant = from(json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant",
        "metadata": {"name": name, "labels": labels, "resourceVersion": "1"}, "spec": spec,
    }));
    Object::Tenant(Box::new(TenantView::new(&tenant)))
}

/// The Job `train` of two pods, started by the admission 7, as it is at a version.
fn train(version: u32, change: impl FnOnce(&mut Value)) -> Object {
    let mut manifest = json!({
        "metadata": {
            "namespace": "ml-red-dev", "name": "train", "uid": "j",
            "resourceVersion": version.to_string(),
            "annotations": {
                "internal.prorata.dev/epoch": "7", "internal.prorata.dev/created-by": "alice",
            },
        },
        "spec": {"parallelism": 2, "template": {"spec": {
            "priorityClassName": "high",
            "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
        }}},
    });
    change(&mut manifest);
    Object::Job(Box::new(JobView::new(&from(manifest), GPU)))
}

/// Its record, which says since when it is admitted.
fn record(since: &str) -> Object {
    record_with(since, |_| {})
}

fn record_with(since: &str, change: impl FnOnce(&mut Value)) -> Object {
    let place = json!({"node": "a", "devices": [0]});
    let condition = json!({
        "type": "Admitted", "status": "True", "reason": "", "message": "",
        "lastTransitionTime": since,
    });
    let mut manifest = json!({
        "apiVersion": "prorata.dev/v1alpha1", "kind": "QueuedJob",
        "metadata": {"namespace": "ml-red-dev", "name": "job-train-j", "resourceVersion": "1"},
        "spec": {
            "job": {"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": "j"},
            "tenant": "red-dev", "priority": 0, "gang": 2, "gpus": "2",
            "requests": {"nvidia.com/gpu": "1"},
            "admission": {"epoch": 7, "placement": [place, {"node": "a", "devices": [1]}]},
        },
        "status": {"state": "Admitted", "reason": "", "message": "", "conditions": [condition]},
    });
    change(&mut manifest);
    Object::QueuedJob(Box::new(RecordView::new(&from::<crate::api::QueuedJob>(
        manifest,
    ))))
}

pub(super) fn bound(uid: &str, namespace: &str, owner: Option<&str>, since: &str) -> Object {
    let owner = owner.map(|uid| {
        json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "train", "uid": uid, "controller": true}])
    });
    let pod: k8s_openapi::api::core::v1::Pod = from(json!({
        "metadata": {"namespace": namespace, "name": uid, "uid": uid, "ownerReferences": owner},
        "spec": {
            "nodeName": "a",
            "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}}],
        },
        "status": {"phase": "Running", "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": since},
        ]},
    }));
    Object::Pod(PodView::new(&pod, GPU))
}

fn running() -> Vec<Object> {
    let pods = ["p", "q"].map(|uid| bound(uid, "ml-red-dev", Some("j"), "2026-01-01T00:00:00Z"));
    let mut all = vec![train(1, |_| {}), record("2025-12-31T23:59:00Z")];
    all.extend(pods);
    all
}

fn ends(entries: &[Entry]) -> Vec<(u32, End)> {
    let end = |entry: &Entry| match entry {
        Entry::Freed(id, end) => Some((id.seat, *end)),
        _ => None,
    };
    entries.iter().filter_map(end).collect()
}

const fn seen(at_ms: u64, why: Why) -> End {
    End {
        at_ms,
        why,
        estimated: false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_gang_is_charged_to_its_team_from_its_admission_on() {
    let world = World::start(&running());
    let held = world.held();
    assert_eq!(held.len(), 2);
    for (seat, held) in (0..).zip(&held) {
        assert_eq!(
            (held.id.epoch, held.id.seat, held.gpu_milli),
            (7, seat, 1000)
        );
        assert_eq!(held.from_ms, NOW - 60_000, "as its record says");
        let payer = &held.payer;
        let who = [
            &payer.tenant,
            &payer.environment,
            &payer.namespace,
            &payer.user,
        ];
        assert_eq!(who, ["red", "dev", "ml-red-dev", "alice"]);
        assert_eq!((&*payer.cost_center, &*payer.department), ("c-7", ""));
        assert_eq!(
            (&*held.kind, &*held.job, &*held.priority_class),
            ("Job", "train", "high")
        );
        assert_eq!(
            (&*held.model, &*held.pool, &*held.mode),
            ("L4", "blue", "exclusive")
        );
    }
    let accounts = world.accounts();
    assert_eq!(
        accounts.names.get("red").map(String::as_str),
        Some("Red team")
    );
    let stock: Vec<&Stock> = accounts.stock.values().collect();
    assert_eq!(
        (stock.len(), stock[0].gpu_milli, stock[0].from_ms),
        (1, 4000, NOW)
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_held_until_its_job_has_ended() {
    let mut world = World::start(&running());
    let before = world.accounts().count;
    // One of its pods is over; a gang's place is given up whole.
    let gone = Change::Deleted(bound("p", "ml-red-dev", Some("j"), "2026-01-01T00:00:00Z"));
    world.after(5, vec![gone]).await;
    assert_eq!(ends(&world.since(before)), []);
    let ended = train(2, |job| {
        job["status"]["conditions"] = json!([
            {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:08Z"},
        ]);
    });
    world.after(4, vec![Change::Applied(ended)]).await;
    let end = seen(NOW + 9000, Why::Finished);
    assert_eq!(ends(&world.since(before)), [(0, end), (1, end)]);
    assert!(world.held().is_empty());
    assert_eq!(world.accounts().ended.get("j"), Some(&(NOW + 8000)));
}

#[tokio::test(start_paused = true)]
async fn each_pod_of_a_job_that_is_withdrawn_is_charged_until_it_is_gone() {
    let mut world = World::start(&running());
    let before = world.accounts().count;
    let held_back = train(2, |job| {
        job["spec"]["suspend"] = true.into();
        job["metadata"]["annotations"]["internal.prorata.dev/held"] = "true".into();
    });
    world.after(1, vec![Change::Applied(held_back)]).await;
    assert_eq!(ends(&world.since(before)), []);
    for (seconds, pod) in [(2, "p"), (4, "q")] {
        let pod = bound(pod, "ml-red-dev", Some("j"), "2026-01-01T00:00:00Z");
        world.after(seconds, vec![Change::Deleted(pod)]).await;
    }
    let ends = ends(&world.since(before));
    let withdrawn = |seconds: u64| seen(NOW + seconds * 1000, Why::Withdrawn);
    assert_eq!(ends, [(0, withdrawn(3)), (1, withdrawn(7))]);
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_nobody_is_held_too_and_never_more_than_there_is() {
    let mut world = World::start(&[]);
    let stranger = || bound("s", "elsewhere", None, "2026-01-01T00:00:01Z");
    world.after(3, vec![Change::Applied(stranger())]).await;
    let held = world.held();
    assert_eq!(
        (held.len(), held[0].from_ms, held[0].id.epoch),
        (1, NOW + 1000, 0)
    );
    assert_eq!(
        (&*held[0].payer.tenant, &*held[0].payer.namespace),
        ("", "elsewhere")
    );
    assert_eq!((&*held[0].kind, &*held[0].job), ("Pod", "s"));
    let amounts = |world: &World| -> Vec<u64> {
        let accounts = world.accounts();
        accounts
            .stock
            .values()
            .map(|stock| stock.gpu_milli)
            .collect()
    };
    // The device plugin is gone for a while, and then the node is for good.
    world.after(1, vec![Change::Applied(node(0))]).await;
    assert_eq!(amounts(&world), [1000]);
    world.after(1, vec![Change::Deleted(node(0))]).await;
    assert_eq!(amounts(&world), [1000]);
    let before = world.accounts().count;
    world.after(1, vec![Change::Deleted(stranger())]).await;
    assert!(amounts(&world).is_empty());
    let gone = Entry::Gone {
        node: "a".to_owned(),
        model: "L4".to_owned(),
        at_ms: NOW + 6000,
        estimated: false,
    };
    let news = world.since(before);
    assert_eq!(ends(&news), [(0, seen(NOW + 6000, Why::Finished))]);
    assert_eq!(news.last(), Some(&gone));
}

#[tokio::test(start_paused = true)]
async fn whoever_gets_a_gpu_next_begins_no_sooner_than_it_was_free() {
    let others: Vec<Object> = (0..4)
        .map(|n| bound(&format!("s{n}"), "elsewhere", None, "2026-01-01T00:00:00Z"))
        .collect();
    let mut world = World::start(&others);
    assert_eq!(world.held().len(), 4);
    // kube-scheduler heard of the end before we did.
    let gone = Change::Deleted(others[0].clone());
    let next = Change::Applied(bound("next", "elsewhere", None, "2026-01-01T00:00:02Z"));
    world.after(5, vec![gone, next]).await;
    let held = world.held();
    let next = held.iter().find(|held| held.job == "next").unwrap();
    assert_eq!(next.from_ms, NOW + 5000);
}

#[tokio::test(start_paused = true)]
async fn what_was_over_before_anybody_came_is_told_as_its_objects_say() {
    let ended = train(2, |job| {
        job["status"]["conditions"] = json!([
            {"type": "Complete", "status": "True", "lastTransitionTime": "2025-12-31T23:59:40Z"},
        ]);
    });
    let world = World::start(&[ended, record("2025-12-31T23:59:00Z")]);
    assert!(world.held().is_empty());
    let over = world.accounts().over;
    assert_eq!(over.len(), 2);
    for (held, end) in over.iter() {
        assert_eq!((held.from_ms, held.gpu_milli), (NOW - 60_000, 1000));
        assert_eq!(*end, seen(NOW - 20_000, Why::Finished));
    }
}

/// The Job `train`, which has to leave when the first that is known is settled, holds all of it until
/// it is known to have stopped.
async fn is_held_until_it_has_stopped(mut world: World) {
    let held = world.held();
    let seats: Vec<u32> = held.iter().map(|held| held.id.seat).collect();
    assert_eq!(seats, [0, 1]);
    for held in &held {
        assert_eq!((held.id.epoch, held.gpu_milli), (7, 1000));
        assert_eq!(held.from_ms, NOW - 60_000, "as its record says");
    }
    let before = world.accounts().count;
    let stopped = train(2, |job| {
        job["spec"]["suspend"] = true.into();
        job["status"]["conditions"] = json!([{"type": "Suspended", "status": "True"}]);
    });
    world.after(3, vec![Change::Applied(stopped)]).await;
    let end = seen(NOW + 3000, Why::Preempted);
    assert_eq!(ends(&world.since(before)), [(0, end), (1, end)]);
    assert!(world.held().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_had_to_leave_before_anybody_came_is_charged_until_it_has_stopped() {
    let eviction =
        json!({"epoch": 7, "by": "job x", "rule": "priority", "at": "2025-12-31T23:59:30Z"});
    let record = record_with("2025-12-31T23:59:00Z", |record| {
        record["spec"]["eviction"] = eviction;
    });
    let world = World::start(&[train(1, |_| {}), record]);
    is_held_until_it_has_stopped(world).await;
}

/// A Job that needs the whole node, and its class, which comes before all others.
fn urgent() -> [Object; 2] {
    let job = json!({
        "metadata": {
            "namespace": "ml-red-dev", "name": "next", "uid": "n", "resourceVersion": "1",
            "annotations": {"internal.prorata.dev/created-by": "alice"},
        },
        "spec": {"suspend": true, "template": {"spec": {
            "priorityClassName": "high",
            "containers": [{"name": "c", "resources": {"limits": {"nvidia.com/gpu": 4}}}],
        }}},
    });
    [
        Object::PriorityClass("high".to_owned(), 1000, false),
        Object::Job(Box::new(JobView::new(&from(job), GPU))),
    ]
}

#[tokio::test(start_paused = true)]
async fn who_has_to_leave_at_once_when_somebody_comes_is_charged_until_it_has_stopped() {
    let [class, next] = urgent();
    let running = train(1, |_| {});
    let world = World::start(&[running, record("2025-12-31T23:59:00Z"), class, next]);
    is_held_until_it_has_stopped(world).await;
}

#[tokio::test(start_paused = true)]
async fn who_was_admitted_and_never_let_go_is_charged_until_its_room_is_given_away() {
    let [class, next] = urgent();
    let admitted = train(1, |job| {
        job["spec"]["suspend"] = true.into();
        job["metadata"]["annotations"] = json!({"internal.prorata.dev/created-by": "alice"});
    });
    let world = World::start(&[admitted, record("2025-12-31T23:59:00Z"), class, next]);
    let over = world.accounts().over;
    let lines: Vec<(u32, u64, End)> = over
        .iter()
        .map(|(held, end)| (held.id.seat, held.from_ms, *end))
        .collect();
    let end = seen(NOW, Why::Preempted);
    assert_eq!(lines, [(0, NOW - 60_000, end), (1, NOW - 60_000, end)]);
}

#[tokio::test(start_paused = true)]
async fn who_was_stopped_before_anybody_came_and_what_is_left_of_it_are_charged_once() {
    let stopped = train(1, |job| job["spec"]["suspend"] = true.into());
    let pod = bound("p", "ml-red-dev", Some("j"), "2026-01-01T00:00:00Z");
    let world = World::start(&[stopped, record("2025-12-31T23:59:00Z"), pod]);
    let over = world.accounts().over;
    let ends: Vec<End> = over.iter().map(|(_, end)| *end).collect();
    let end = End {
        estimated: true,
        ..seen(NOW, Why::Requeued)
    };
    assert_eq!(ends, [end, end]);
    let held = world.held();
    assert_eq!((held.len(), held[0].id.epoch, held[0].from_ms), (1, 0, NOW));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_failed_is_not_tried_again_before_its_time() {
    put_off(Failure::Unanswered("down".to_owned()), false, 1).await;
}

/// The record comes back with the answer, as it was: that is no news.
#[tokio::test(start_paused = true)]
async fn nor_is_one_whose_record_the_api_server_keeps_as_it_was() {
    put_off(Failure::Vain, true, 5).await;
}

async fn put_off(failure: Failure, is_recorded: bool, seconds: u64) {
    let admitted = train(1, |job| {
        job["spec"]["suspend"] = true.into();
        job["metadata"]["annotations"] = json!({"internal.prorata.dev/created-by": "alice"});
    });
    let mut driver = World::start(&[admitted, record("2025-12-31T23:59:00Z")]).driver;
    driver.write();
    assert!(driver.observed.is_let_go("j"));
    driver.conclude(Outcome {
        job: driver.observed.plan("j").unwrap().job().clone(),
        record: driver.observed.record("j").filter(|_| is_recorded).cloned(),
        view: None,
        pods: Vec::new(),
        evicts: false,
        failure: Some(failure),
    });
    assert!(!driver.observed.is_let_go("j"));
    let snapshot = driver.scheduler.snapshot();
    let again = driver.next_effect(&snapshot);
    assert!(again.is_none(), "{again:?}");
    tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
    for due in driver.work.due(Instant::now()) {
        driver.look_at(due);
    }
    let again = driver.next_effect(&snapshot);
    assert!(again.is_some_and(|(_, effect)| effect.lets_go()));
}
