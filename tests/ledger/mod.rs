//! The ledger of a real control plane over a month in which the controller is killed again and again:
//! every pod's own history agrees with its line, no line is there twice, the reports add up, and all
//! lines and idle are the fleet.
//!
//! The month passes faster than it is long: a second of the control plane counts as so many hours, a
//! day unless told otherwise. What the ledger has written down in whole seconds is stretched to the
//! month for the reports, and so is what the pods themselves say; nothing else is made up.
//!
//! ```text
//! cargo test --test live -- ledger::                              # a day each second
//! PRORATA_MONTH_SECONDS=600 cargo test --test live -- ledger::    # 72 minutes each second
//! PRORATA_SEED=17 cargo test --test live -- ledger::              # other jobs, other kills
//! PRORATA_LIFE_MS=1500 cargo test --test live -- ledger::         # some die before they lead
//! ```

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod budget;
mod busy;
mod history;
mod load;
mod month;
mod reports;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, ListParams};
use prorata_controlplane::nodes::Shape;
use prorata_ledger::record::{Extract, Hold};
use prorata_ledger::store::{Book, Purpose};
use tempfile::TempDir;

use crate::outage::world::{World, is_complete, phase};
use history::{History, Life};
use load::{Dice, NOBODYS, STRANGER, job, stranger};
use month::Month;

/// Tenants, each with a namespace and a GPU that it owns.
const TENANTS: u64 = 30;
/// The longest pause between two Jobs, in milliseconds.
const PAUSE_MS: u64 = 500;
/// GPUs of a node.
const GPUS: u32 = 8;
/// Nodes of each model.
const FLEET: [(&str, u32); 2] = [("NVIDIA-H100-80GB-HBM3", 6), ("NVIDIA-L4", 2)];
/// How long a controller lives at least, in milliseconds, and at most twice that; `PRORATA_LIFE_MS`
/// says otherwise. The Lease takes up to four seconds to become free.
const LIFE_MS: u64 = 6_000;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_tenants_pay_for_a_month_what_their_pods_held_however_often_we_die() {
    let directory = TempDir::new().unwrap();
    let url = format!("sqlite://{}", directory.path().join("ledger.db").display());
    let ledger = format!("ledger: {{url: \"{url}\", heartbeat: 1s}}\n");
    let Some(mut world) = World::start_on(fleet(), Duration::ZERO, &ledger).await else {
        return;
    };
    let tenants: Vec<String> = (1..=TENANTS).map(|n| format!("team-{n:02}")).collect();
    let manifests: Vec<String> = (1..).zip(&tenants).map(manifest).collect();
    let manifests = manifests.join("---\n");
    world.cluster.apply(&manifests);
    for tenant in &tenants {
        world.namespace(tenant, Some(tenant)).await;
    }
    world.namespace(NOBODYS, None).await;
    let history = History::follow(world.cluster.admin.clone());
    let (length, seed) = (number("PRORATA_MONTH_SECONDS"), number("PRORATA_SEED"));
    let (length, mut dice) = (length.unwrap_or(30), Dice::new(seed.unwrap_or(0x5eed)));
    let until = Instant::now() + Duration::from_secs(length);
    let (jobs, kills) = tokio::join!(
        submit(&world, &tenants, Dice::new(dice.roll(u64::MAX)), until),
        outlive(&world, Dice::new(dice.roll(u64::MAX)), until),
    );
    let told = finish(&mut world, &tenants, &url).await;
    let lives = history.lives();
    for job in all_jobs(&world, &tenants).await {
        agrees(&told, &job, &lives, &kills);
    }
    let begun = told.holds.iter();
    let begun: BTreeSet<_> = begun
        .map(|hold| (&hold.payer.namespace, &hold.job))
        .collect();
    assert_eq!(begun.len(), jobs + 1, "the Jobs, and the stranger");
    names_who_pays(&told, &tenants);
    is_there_throughout(&told);
    let month = Month::of(&told, length);
    println!(
        "{jobs} Jobs of {TENANTS} tenants, {} kills, a second is {} h; {}",
        kills.len(),
        month.scale() / 3600,
        described(&told)
    );
    reports::add_up(&directory, &url, &manifests, &told, &month, &lives);
    world.assert_healthy();
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn fleet() -> Vec<(String, Shape)> {
    let names = (1..).map(|n| format!("node-{n:04}"));
    let shapes = FLEET.iter().flat_map(|(model, count)| {
        let labels = [("nvidia.com/gpu.product".to_owned(), (*model).to_owned())];
        let shape = Shape {
            gpus: GPUS,
            labels: labels.into(),
            ..Shape::default()
        };
        std::iter::repeat_n(shape, usize::try_from(*count).unwrap())
    });
    names.zip(shapes).collect()
}

/// Seven cost centres for all, and none for the first.
fn manifest((n, name): (u64, &String)) -> String {
    let mut text = format!(
        "apiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {name}}}\n\
         spec:\n  displayName: Team {n}\n  guaranteed: {{gpu: 1}}\n  budget: {{monthly: {}, currency: EUR}}\n",
        500 * n
    );
    if n > 1 {
        let _ = writeln!(text, "  costCenter: cc-{}\n  department: research", n % 7);
    }
    text
}

/// Each line has what its Tenant says of who pays, and the book what people call it.
fn names_who_pays(told: &Extract, tenants: &[String]) {
    for (n, name) in (1..).zip(tenants) {
        for hold in told.holds.iter().filter(|hold| hold.payer.tenant == *name) {
            let paid = match n {
                1 => (String::new(), ""),
                n => (format!("cc-{}", n % 7), "research"),
            };
            let payer = &hold.payer;
            assert_eq!((payer.cost_center.clone(), &*payer.department), paid);
            assert_eq!(told.names[name], format!("Team {n}"));
        }
    }
}

/// What there is on a node goes on in the next span where one ends: no node was ever gone.
fn is_there_throughout(told: &Extract) {
    let mut until: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut spans: Vec<_> = told.stock.iter().collect();
    spans.sort_by_key(|stock| stock.from_ms);
    for stock in spans {
        let last = until.insert(
            (&stock.node, &stock.model),
            stock.until_ms.unwrap_or(u64::MAX),
        );
        let is_next = last.is_none_or(|last| last == stock.from_ms);
        assert!(is_next, "{stock:?} after {last:?}: {:#?}", told.stock);
    }
}

/// Jobs of tenants that are drawn, until the month is over; returns how many.
async fn submit(world: &World, tenants: &[String], mut dice: Dice, until: Instant) -> usize {
    let mut jobs = 0;
    while Instant::now() < until {
        let tenant = &tenants[usize::try_from(dice.roll(TENANTS)).unwrap()];
        let job = job(&format!("j-{jobs}"), 4, &mut dice);
        world.submit(tenant, &job).await;
        jobs += 1;
        if jobs == 1 {
            stranger(world).await;
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(PAUSE_MS))).await;
    }
    jobs
}

/// Controllers one after another, each killed in the middle of whatever it does, until the month is
/// over; returns when each was killed.
async fn outlive(world: &World, mut dice: Dice, until: Instant) -> Vec<u64> {
    let life_ms = number("PRORATA_LIFE_MS").unwrap_or(LIFE_MS);
    let mut kills = Vec::new();
    while Instant::now() < until {
        let mut controller = world.site.start(&world.cluster.plane).await;
        let lives = Duration::from_millis(life_ms + dice.roll(life_ms));
        tokio::time::sleep(lives).await;
        controller.kill().unwrap();
        kills.push(u64::try_from(Timestamp::now().as_millisecond()).unwrap());
    }
    kills
}

/// Has a last controller see all Jobs to their end, and returns what the book says of it all.
async fn finish(world: &mut World, tenants: &[String], url: &str) -> Extract {
    let mut controller = world.controller().await;
    world
        .until_within("all is over", Duration::from_secs(120), async || {
            let jobs = all_jobs(world, tenants).await;
            jobs.iter().all(is_complete)
        })
        .await;
    let book = Book::open(url, Purpose::Read).await.unwrap();
    world
        .until("the stranger has run", async || {
            phase(&world.pod(NOBODYS, STRANGER).await) == "Succeeded"
        })
        .await;
    world
        .until("the book says that nothing is held", async || {
            book.open_holds().await.unwrap().is_empty()
        })
        .await;
    controller.kill().unwrap();
    let kept_until = book.kept_until().await.unwrap().unwrap();
    book.extract(0, kept_until + 1).await.unwrap()
}

async fn all_jobs(world: &World, tenants: &[String]) -> Vec<Job> {
    let api: Api<Job> = Api::all(world.cluster.admin.clone());
    let mut jobs = api.list(&ListParams::default()).await.unwrap().items;
    jobs.retain(|job| tenants.contains(&job.namespace().unwrap()));
    jobs
}

fn described(told: &Extract) -> String {
    let is_estimated = |hold: &&Hold| hold.end.is_some_and(|end| end.estimated);
    format!(
        "{} holds, {} of them with an estimated end, {} gaps",
        told.holds.len(),
        told.holds.iter().filter(is_estimated).count(),
        told.gaps.len()
    )
}

/// The lines of each start of a Job are a place for each of its pods, and begin when all of the start
/// before have ended; each of its pods that ran to its end did so in a place of its own, for all the
/// time that it had it. Only where a controller was killed meanwhile may it be the place of one that
/// was over: the next controller does not hear of that one.
fn agrees(told: &Extract, job: &Job, lives: &[Life], kills: &[u64]) {
    let (uid, name) = (job.uid().unwrap(), job.name_any());
    let tenant = job.namespace().unwrap();
    let all: Vec<&Hold> = told.holds.iter().filter(|h| h.id.job_uid == uid).collect();
    let own: Vec<&Life> = lives
        .iter()
        .filter(|life| life.uid == uid && !life.had_to_leave)
        .collect();
    let both = format!("{tenant}/{name}: lines {all:#?}, pods {own:#?}");
    let each = own[0].gpus * 1000;
    let whole = u64::try_from(job.spec.as_ref().unwrap().parallelism.unwrap()).unwrap() * each;
    let mut starts: BTreeMap<i64, Vec<&Hold>> = BTreeMap::new();
    for line in &all {
        let payer = &line.payer;
        let who = [&*payer.tenant, &*payer.namespace, &*payer.user];
        assert_eq!(who, [&*tenant, &*tenant, "alice"], "{name}");
        assert_eq!((&*line.kind, &*line.job), ("Job", &*name));
        starts.entry(line.id.epoch).or_default().push(line);
    }
    let mut free_ms = 0;
    for lines in starts.values() {
        // Who is let stay before its eviction is on record has the same places again.
        let held = |at_ms: u64| -> u64 {
            let then = |line: &&&Hold| line.from_ms <= at_ms && at_ms < line.end.unwrap().at_ms;
            let held = lines.iter().filter(then);
            held.map(|line| line.gpu_milli).sum()
        };
        for line in lines {
            assert!(held(line.from_ms) <= whole, "each place once: {both}");
        }
        let all: u64 = lines.iter().map(|line| line.gpu_milli).sum();
        assert!(all >= whole, "a place for each of its pods: {both}");
        let from_ms = lines.iter().map(|line| line.from_ms).min().unwrap();
        assert!(from_ms >= free_ms, "one start after another: {both}");
        let ends = lines.iter().map(|line| line.end.unwrap().at_ms);
        free_ms = ends.max().unwrap();
    }
    each_has_its_place(&all, &own, kills, &both);
}

fn each_has_its_place(all: &[&Hold], own: &[&Life], kills: &[u64], both: &str) {
    let each = own[0].gpus * 1000;
    let mut places: Vec<(&Hold, Option<&Life>)> = Vec::new();
    for line in all {
        let seats = usize::try_from(line.gpu_milli / each).unwrap();
        places.extend(std::iter::repeat_n((*line, None), seats));
    }
    // Where there are several, the one that ends first leaves the others to those that last longer.
    places.sort_by_key(|(place, _)| place.end.unwrap().at_ms);
    let mut pods = own.to_vec();
    pods.sort_by_key(|pod| pod.over_ms);
    for pod in pods {
        // Pods tell whole seconds.
        let is_its_own = |place: &Hold| {
            let (from_ms, end) = (place.from_ms, place.end.unwrap());
            let begins = from_ms / 1000 <= pod.bound_ms / 1000 && pod.bound_ms <= end.at_ms;
            let lasts = end.estimated || end.at_ms >= pod.over_ms;
            place.id.node == pod.node && begins && lasts
        };
        let unheard = |had: &Life| {
            let is_between = |at: &u64| (had.bound_ms..pod.bound_ms + 1000).contains(at);
            had.over_ms <= pod.bound_ms && kills.iter().any(is_between)
        };
        let free = places
            .iter()
            .position(|(place, had)| had.is_none() && is_its_own(place));
        let again = || {
            let mut all = places.iter();
            all.position(|(place, had)| had.is_some_and(unheard) && is_its_own(place))
        };
        let place = free.or_else(again);
        let place = place.unwrap_or_else(|| panic!("no place of {pod:?}: {both}"));
        places[place].1 = Some(pod);
    }
}
