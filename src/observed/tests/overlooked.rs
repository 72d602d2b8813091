//! Pods whose nodes kube-scheduler has not looked at.

use super::*;

#[test]
fn a_pod_whose_node_is_overlooked_is_told_it_once() {
    let mut observed = observed();
    let Object::Pod(bound) = pod("p", "red") else {
        panic!("a pod")
    };
    let unbound = PodView {
        node: None,
        version: 1,
        overlooked: Some("a".into()),
        ..bound.clone()
    };
    let told = Object::Pod(PodView {
        nominated: Some("a".into()),
        version: 2,
        ..unbound.clone()
    });
    let nodes = |observed: &Observed| -> Vec<NodeId> {
        let overlooked = observed.overlooked("j");
        overlooked.map(|(_, _, node)| node.clone()).collect()
    };
    observed.apply(Change::Applied(Object::Pod(unbound.clone())));
    assert_eq!(nodes(&observed), ["a".into()]);
    observed.apply_written(told.clone());
    assert_eq!(nodes(&observed), []);
    // kube-scheduler forgets it.
    let version = 3;
    observed.apply(Change::Applied(Object::Pod(PodView { version, ..unbound })));
    assert_eq!(nodes(&observed), ["a".into()]);
    observed.apply_written(told.clone());
    assert_eq!(nodes(&observed), ["a".into()], "what is written is older");
    // What a write answers may be older than what the watch has told.
    observed.apply(Change::Applied(Object::Pod(bound)));
    observed.apply_written(told);
    assert!(!observed.coming.has("red", "j"));
}
