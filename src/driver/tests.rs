//! The first lists, and what changes meanwhile.

use super::*;
use kube::{Client, Config};
use prorata_core::{Node, Others, Resources};

use crate::translate::PodView;

mod accounts;
mod leftovers;
mod unanswered;

const GPU: &str = "nvidia.com/gpu";

fn pod(uid: &str, gpus: u64) -> Object {
    Object::Pod(PodView {
        uid: uid.to_owned(),
        namespace: "free".to_owned(),
        name: String::new(),
        version: 0,
        bound: None,
        job: None,
        maker: None,
        index: None,
        node: Some("a".into()),
        takes: Resources::gpus(gpus),
        unit: Default::default(),
        others: Others::NONE,
        nominated: None,
        unschedulable: None,
        overlooked: None,
        is_leaving: false,
        is_over: false,
        gated: None,
        left: None,
    })
}

/// Jobs are listed last, and pods come and go before that.
#[tokio::test]
async fn what_changes_while_others_are_listed_is_not_undone() {
    // Nobody listens there, and nothing is written.
    let config = Config::new("http://127.0.0.1:1".parse().unwrap());
    let writer = Writer::new(Client::try_from(config).unwrap(), GPU);
    let settings = Settings {
        gpu_resource: GPU.to_owned(),
        ..Settings::default()
    };
    let mut driver = Driver::new(settings, writer, Views::default());
    let node = Node {
        allocatable: Resources::gpus(4),
        ..Node::new("a")
    };
    let node = Object::Node(node, true);
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Job) {
        let objects = match kind {
            Kind::Node => vec![node.clone()],
            Kind::Pod => vec![pod("gone", 1)],
            _ => Vec::new(),
        };
        driver.take_up([Change::Listed(kind, objects)].into_iter());
    }
    driver.take_up([Change::Deleted(pod("gone", 1))].into_iter());
    driver.take_up([Change::Applied(pod("new", 2))].into_iter());
    driver.take_up([Change::Listed(Kind::Job, Vec::new())].into_iter());
    let free = driver.scheduler.snapshot().free(&"a".into());
    assert_eq!(free, Resources::gpus(2));
}
