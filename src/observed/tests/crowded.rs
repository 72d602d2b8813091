//! How many pods of a gang are planned on one node: what their template says of that, and what
//! kube-scheduler taught.

use super::*;

/// A Job of so many pods that repel each other in a way that only kube-scheduler knows, and three
/// nodes, of which one has no GPUs.
fn job(pods: u32, skew: Option<u32>) -> Observed {
    let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
    let label = json!({"matchLabels": {"app": "x"}});
    let spread = skew.map(|skew| {
        json!({
            "maxSkew": skew, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": label,
        })
    });
    let spreads: Vec<_> = spread.into_iter().collect();
    let manifest = json!({
        "metadata": {"namespace": "red", "name": "train", "uid": "j", "resourceVersion": "1"},
        "spec": {
            "suspend": true, "parallelism": pods, "completions": pods, "completionMode": "Indexed",
            "template": {
                "metadata": {"labels": {"app": "x"}},
                "spec": {"topologySpreadConstraints": spreads, "containers": [
                    {"name": "c", "resources": {"limits": {"nvidia.com/gpu": 1}}},
                ]},
            },
        },
    });
    let view = JobView::new(&serde_json::from_value(manifest).unwrap(), "nvidia.com/gpu");
    let red = Object::Namespace("red".to_owned(), Some("red".into()));
    observed.apply(Change::Applied(red));
    for (name, gpus) in [("a", 4), ("b", 4), ("cpu", 0)] {
        let node = Node {
            allocatable: Resources::gpus(gpus),
            ..Node::new(name)
        };
        observed.apply(Change::Applied(Object::Node(node, true)));
    }
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    observed
}

fn per_node(observed: &Observed) -> Option<u32> {
    let needs = observed.wanted("j").unwrap().needs;
    needs.per_node.map(u32::from)
}

#[test]
fn an_even_spread_is_planned() {
    assert_eq!(per_node(&job(2, None)), None);
    assert_eq!(per_node(&job(2, Some(1))), Some(1));
    assert_eq!(per_node(&job(5, Some(1))), Some(3), "two nodes for five");
    assert_eq!(per_node(&job(2, Some(2))), Some(2));
}

#[test]
fn where_others_of_the_gang_are_no_more_than_these_are_planned() {
    let mut observed = job(3, None);
    let wanted = observed.wanted("j").unwrap();
    let slot = |node: &str, gpu| Slot::whole(node.into(), [gpu].into_iter().collect());
    let slots = [slot("a", 0), slot("a", 1), slot("b", 0)];
    observed.admit(&wanted, 1, slots.into_iter().collect());
    let mut view = observed.jobs["j"].clone();
    (view.is_suspended, view.epoch, view.active) = (false, Some(1), 3);
    observed.apply(Change::Applied(Object::Job(Box::new(view))));
    for (index, node) in [(0, Some("a")), (1, None), (2, Some("b"))] {
        let Object::Pod(mut pod) = pod(&format!("p{index}"), "red") else {
            panic!("a pod")
        };
        (pod.index, pod.node) = (Some(index), node.map(Into::into));
        pod.unschedulable = node.is_none().then(|| "ports".to_owned());
        observed.apply(Change::Applied(Object::Pod(pod)));
    }
    observed.expire(at(100));
    let expired = observed.expire(at(160));
    assert_eq!(expired.paused.len(), 1);
    assert_eq!(per_node(&observed), Some(1));
    let needs = observed.wanted("j").unwrap().needs;
    assert!(needs.allow(&Node::new("a")), "one may be there");
    observed.expire(at(800));
    assert_eq!(per_node(&observed), None, "it is tried again");
}
