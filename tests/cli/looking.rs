//! What is shown: the queue, one job, the shares.

use std::time::{Duration, Instant};

use serde_json::json;

use super::world::World;

/// Leaves `runs` (8 GPUs) and `waits` behind in red, `later` in blue.
pub(crate) async fn the_queue_is_listed_in_its_order(world: &World) {
    world.submit("red", "runs", 2, 4).await;
    world.until("red", "runs", "Admitted").await;
    world.submit("red", "waits", 1, 4).await;
    world.until("red", "waits", "CapacityFull").await;
    world.submit("blue", "never", 2, 4).await;
    world.until("blue", "never", "ExceedsMaxQuota").await;

    let names = world.alice("list -A -o name").await;
    assert_eq!(
        names.good(),
        "job.batch/runs\njob.batch/waits\njob.batch/never\n"
    );
    let table = world.alice("list -A").await;
    let lines: Vec<Vec<&str>> = table
        .good()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "NAMESPACE",
            "NAME",
            "TENANT",
            "GPUS",
            "PRIORITY",
            "STATE",
            "POS",
            "WAIT",
            "STARTS",
            "REASON"
        ]
    );
    assert_eq!(
        lines[1][..7],
        ["red", "runs", "red", "8", "0", "Admitted", "-"]
    );
    assert_eq!(
        lines[2][..7],
        ["red", "waits", "red", "4", "0", "Waiting", "1"]
    );
    assert_eq!(
        lines[3][..7],
        ["blue", "never", "blue", "8", "0", "Blocked", "-"]
    );
    assert_eq!(lines[3][9], "ExceedsMaxQuota");

    let filtered = world
        .alice("list -A --tenant red --state waiting --no-headers")
        .await;
    assert!(
        filtered.good().starts_with("red         waits")
            || filtered.good().starts_with("red   waits"),
        "{filtered:?}"
    );
    assert_eq!(filtered.good().lines().count(), 1);
    let here = world.alice("list -n blue -o yaml").await;
    assert!(
        here.good().contains("reason: ExceedsMaxQuota") && !here.out.contains("waits"),
        "{here:?}"
    );
    let wide = world.alice("list -n red -o wide").await;
    assert!(wide.good().contains("node-0001,node-0002"), "{wide:?}");
    let none = world.alice("list -n red --state finished").await;
    assert_eq!((none.good(), none.err.contains("no such job")), ("", true));
}

pub(crate) async fn a_job_is_explained(world: &World) {
    let waits = world.admin("explain job/waits -n red").await;
    let text = waits.good();
    assert!(
        text.starts_with(
            "red/waits is WAITING (CapacityFull), position 1 of 1 in the queue of red\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("  Asks    4 GPUs in 1 pod, tenant red, priority 0, waiting "),
        "{text}"
    );
    assert!(
        text.contains("red holds 8 GPUs, owns 4; 1 job in line for 4 GPUs"),
        "{text}"
    );
    assert!(
        text.contains("  Helps   • ") && text.contains("  Log     "),
        "{text}"
    );

    let never = world.admin("explain never -n blue").await;
    assert!(
        never.good().contains("is BLOCKED (ExceedsMaxQuota)"),
        "{never:?}"
    );
    assert!(
        never
            .out
            .contains("ask for less than the limit of tenant blue"),
        "{never:?}"
    );
    let runs = world.admin("explain runs -n red -o json").await.json();
    assert_eq!(runs["state"], "Admitted");
    assert_eq!(runs["nodes"]["node-0001"], 1);
    assert_eq!(runs["remedies"].as_array().unwrap().len(), 0);
}

pub(crate) async fn shares_are_shown_as_a_tree(world: &World) {
    world.until_share("red", &json!(8_000)).await;
    let table = world.admin("share").await;
    let lines: Vec<Vec<&str>> = table
        .good()
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        [
            "TENANT",
            "HELD",
            "ENTITLED",
            "GUARANTEED",
            "LIMIT",
            "RUNNING",
            "WAITING"
        ]
    );
    // Blue and red share by halves the four GPUs that nobody owns.
    assert_eq!(lines[1], ["blue", "0", "2", "-", "6", "0", "0"]);
    assert_eq!(lines[2], ["red", "8", "6", "4", "-", "1", "1"]);
    let wide = world.admin("share -o wide --no-headers").await;
    assert_eq!(wide.good().lines().count(), 2);
}

/// `waits` and one behind it in red; both know from how long another ran when they start.
pub(crate) async fn who_is_ahead_is_named_with_a_moment(world: &World) {
    world.submit("red", "behind", 1, 4).await;
    world.until("red", "behind", "CapacityFull").await;
    world.kubelet.finish("red", "runs").await.unwrap();
    world.until("red", "runs", "Finished").await;
    // Both have half of the cluster each now, and whoever comes has to wait for one of them.
    world.until("red", "behind", "Admitted").await;
    for name in ["third", "fourth"] {
        world.submit("red", name, 2, 4).await;
        world.until("red", name, "CapacityFull").await;
        // Of two that came in the same second the name decides.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let told = loop {
        let told = world.admin("explain fourth -n red -o json").await.json();
        if told["forecast"]["p50"].is_string() {
            break told;
        }
        assert!(Instant::now() < deadline, "{told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert_eq!(
        (&told["inLine"], &told["forecast"]["position"]),
        (&json!(2), &json!(2)),
        "{told}"
    );
    assert_eq!(told["ahead"][0]["job"], "red/third", "{told}");
    let text = world.admin("explain fourth -n red").await;
    let text = text.good();
    assert!(
        text.contains("position 2 of 2 in the queue of red\n"),
        "{text}"
    );
    assert!(
        text.contains("\n  Ahead   red/third: 8 GPUs, priority 0, waiting "),
        "{text}"
    );
    assert!(text.contains("\n  Starts  P50 "), "{text}");
}
