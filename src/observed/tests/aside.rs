//! Who disturbs others is started elsewhere, for a while.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn pods(all: &[(&str, &str)]) -> BTreeSet<(Uid, NodeId)> {
    let owned = |(pod, node): &(&str, &str)| ((*pod).to_owned(), NodeId::from(*node));
    all.iter().map(owned).collect()
}

fn may_start_on(observed: &Observed, node: &str) -> bool {
    observed.wanted("j").unwrap().needs.allow(&Node::new(node))
}

#[test]
fn it_is_kept_away_while_it_goes_on_and_for_a_while() {
    let mut observed = running();
    let news = observed.disturb(&pods(&[("p", "a")]), HOUR, at(100));
    assert!(news.touched.contains("j"), "{news:?}");
    assert!(!may_start_on(&observed, "a") && may_start_on(&observed, "b"));
    assert_eq!(observed.recorded_aside("j").unwrap().nodes, ["a"]);
    observed.expire(at(100_000));
    assert!(!may_start_on(&observed, "a"), "it goes on");
    observed.disturb(&pods(&[]), HOUR, at(100_000));
    assert_eq!(observed.next_deadline(), Some(at(103_600)));
    observed.expire(at(103_599));
    assert!(!may_start_on(&observed, "a"));
    let touched = observed.expire(at(103_600)).news.touched;
    assert!(touched.contains("j") && may_start_on(&observed, "a"));
    assert_eq!(observed.recorded_aside("j"), None);
}

#[test]
fn an_agent_is_believed_about_pods_on_its_own_node_alone() {
    let mut observed = running();
    observed.disturb(&pods(&[("p", "b"), ("unknown", "a")]), HOUR, at(100));
    assert_eq!(observed.recorded_aside("j"), None);
}

#[test]
fn whoever_takes_over_goes_by_the_record() {
    let mut observed = running();
    let mut record = record_of(&observed.wanted("j").unwrap());
    let until = Timestamp::from_second(500).unwrap();
    record.spec.aside = Some(crate::api::Aside {
        nodes: vec!["a".to_owned()],
        until: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(until),
    });
    let aside = record.spec.aside.clone();
    let records = vec![Object::QueuedJob(Box::new(record))];
    let jobs = vec![Object::Job(Box::new(observed.jobs["j"].clone()))];
    let mut next = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
    let red = vec![Object::Namespace("red".to_owned(), Some("red".into()))];
    next.begin(
        [
            (Kind::Namespace, red),
            (Kind::QueuedJob, records),
            (Kind::Job, jobs),
        ]
        .into(),
    );
    assert_eq!(next.recorded_aside("j"), aside);
    assert_eq!(next.next_deadline(), Some(at(500)));
    observed.disturb(&pods(&[("p", "a")]), HOUR, at(100));
    assert!(observed.come_back("j").is_some(), "no other node will do");
    assert!(may_start_on(&observed, "a"));
    assert!(observed.come_back("j").is_none());
}
