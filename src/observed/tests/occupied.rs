//! Which GPUs tasks have, as the agents say.

use prorata_core::Devices;

use super::*;

fn occupied(pods: &[(&str, u32)]) -> Change {
    let pods = pods
        .iter()
        .map(|&(uid, device)| (uid.to_owned(), std::iter::once(device).collect()));
    Change::Occupied("a".into(), pods.collect())
}

fn seen(news: &News) -> Option<&[(TaskId, Devices)]> {
    news.facts.iter().find_map(|fact| match fact {
        Event::DevicesSeen(node, seen) if *node == "a".into() => Some(&seen[..]),
        _ => None,
    })
}

#[test]
fn the_core_is_told_of_tasks_whoever_is_heard_first() {
    let job = JobId::new("red", "train", "j");
    let expected = [(TaskId { job, index: 0 }, std::iter::once(3).collect())];
    let mut observed = running();
    let news = observed.apply(occupied(&[("p", 3), ("unknown", 1)]));
    assert_eq!(seen(&news), Some(&expected[..]));

    let mut early = self::observed();
    assert_eq!(seen(&early.apply(occupied(&[("p", 3)]))), None);
    let news = early.apply(Change::Applied(pod("p", "red")));
    assert_eq!(seen(&news), Some(&expected[..]));
    let news = early.apply(occupied(&[]));
    assert_eq!(seen(&news), None);
}
