//! Jobs that share cards: where one stands that asks for a larger slot than there is, or for instances
//! of a profile that no card has; and of which cards the others have a part.

use std::collections::BTreeSet;

use prorata_core::{Job, Node, Part, Reason, Resource, Verdict};

use crate::api::{QueuedJobSpec, State, resources};
use crate::observed::Observed;
use crate::status::Standing;
use crate::translate::RecordView;

/// So many sizes of slots are told, the largest ones.
const TOLD_MAX: usize = 4;

/// Where a job of this verdict stands, if it is this that stands in its way: no node would have a
/// place for a single pod of it, and that is because of its share.
pub(super) fn standing(observed: &Observed, job: &Job, verdict: &Verdict) -> Option<Standing> {
    let is_hopeless = matches!(
        verdict,
        Verdict::Waiting(Reason::ExceedsCapacity { best: 0, .. } | Reason::NoSuchGpu { .. })
    );
    let message = is_hopeless.then(|| obstacle(observed, job)).flatten()?;
    Some(Standing {
        state: State::Waiting,
        reason: "NoSuchGpu".to_owned(),
        message,
    })
}

/// Says of which model each card is of which a pod has a part. What was said stays: an admission on
/// record never changes.
pub(super) fn name_models(
    spec: &mut QueuedJobSpec,
    observed: &Observed,
    record: Option<&RecordView>,
) {
    let before = record.and_then(|record| record.spec.admission.as_ref());
    let Some(admission) = &mut spec.admission else {
        return;
    };
    let before = before.filter(|before| before.epoch == admission.epoch);
    let places = admission.placement.iter_mut().enumerate();
    for (index, place) in places.filter(|(_, place)| place.milli.is_some()) {
        place.model = match before.and_then(|before| before.placement.get(index)) {
            Some(said) => said.model.clone(),
            None => model(observed, &place.node),
        };
    }
}

fn model(observed: &Observed, node: &str) -> Option<String> {
    let node = observed.node(&node.into())?;
    Some(node.gpus.model.to_string()).filter(|model| !model.is_empty())
}

fn obstacle(observed: &Observed, job: &Job) -> Option<String> {
    let nodes = observed.nodes().filter(|node| job.needs.allow(node));
    if let Some(profile) = &job.needs.profile {
        let is_offered = nodes.count() > 0;
        return (!is_offered).then(|| {
            format!(
                "no node that it may use offers {}: ask for a profile that there is",
                resources::instances(profile)
            )
        });
    }
    let asked = share(job)?;
    let slots: BTreeSet<Part> = nodes.filter_map(slot).collect();
    let fits = slots.iter().any(|slot| asked.fits_in(*slot));
    (!fits).then(|| told(asked, &slots))
}

/// What it asks for of one card; `None` for whole cards.
fn share(job: &Job) -> Option<Part> {
    let milli = u32::try_from(job.task.get(Resource::Gpu)).ok()?;
    let memory = job.task.get(Resource::GpuMemory);
    (1..1000).contains(&milli).then_some(Part { milli, memory })
}

/// The slots of a node that has some.
fn slot(node: &Node) -> Option<Part> {
    node.gpus.slot().filter(|_| node.cards() > 0)
}

fn told(asked: Part, slots: &BTreeSet<Part>) -> String {
    let asked = described(asked);
    if slots.is_empty() {
        return format!(
            "each pod asks for {asked} of a GPU, and no node that it may use shares its GPUs: ask for a whole one"
        );
    }
    let largest: Vec<String> = slots
        .iter()
        .rev()
        .take(TOLD_MAX)
        .copied()
        .map(described)
        .collect();
    format!(
        "each pod asks for {asked} of a GPU, and the largest slots that there are have {}: ask for less, or for a whole GPU",
        largest.join(", ")
    )
}

/// `250m and 8Gi`; what is less than a thousandth or a MiB says nothing.
fn described(part: Part) -> String {
    let share = (part.milli > 1).then(|| format!("{}m", part.milli));
    let mib = part.memory >> 20;
    let memory = (mib > 0).then(|| match mib % 1024 {
        0 => format!("{}Gi", mib / 1024),
        _ => format!("{mib}Mi"),
    });
    let told: Vec<String> = share.into_iter().chain(memory).collect();
    match told.is_empty() {
        true => "a slot".to_owned(),
        false => told.join(" and "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Classes, Patience};
    use crate::watch::{Change, Object};
    use prorata_core::{Gpus, JobId, Mode, Resources};

    const GIB: u64 = 1 << 30;

    fn node(name: &str, mode: Mode) -> Object {
        let gpus = Gpus {
            mode,
            memory: 48 * GIB,
            ..Gpus::default()
        };
        let node = Node {
            allocatable: Resources::gpus(2),
            gpus,
            ..Node::new(name)
        };
        Object::Node(node, true)
    }

    fn told(nodes: Vec<Object>, share: u64, gib: u64) -> Option<String> {
        let mut observed = Observed::new("nvidia.com/gpu", Classes::default(), Patience::default());
        for node in nodes {
            observed.apply(Change::Applied(node));
        }
        let task = Resources::ZERO.with(Resource::Gpu, share);
        let task = task.with(Resource::GpuMemory, gib * GIB);
        let job = Job::new(JobId::default(), "red".into(), 1, task);
        let hopeless = Verdict::Waiting(Reason::ExceedsCapacity { gang: 1, best: 0 });
        Some(standing(&observed, &job, &hopeless)?.message)
    }

    #[test]
    fn a_share_is_compared_with_the_largest_slots() {
        let nodes = || vec![node("a", Mode::Mps(4)), node("b", Mode::TimeSlice(8))];
        assert_eq!(told(nodes(), 250, 12), None);
        let memory = told(nodes(), 250, 13).unwrap();
        assert_eq!(
            memory,
            "each pod asks for 250m and 13Gi of a GPU, and the largest slots that there are have \
             250m and 12Gi, 125m and 6Gi: ask for less, or for a whole GPU"
        );
        let share = told(nodes(), 251, 0).unwrap();
        assert!(share.contains("asks for 251m of a GPU"), "{share}");
        let none = told(vec![node("c", Mode::Exclusive)], 1, 0).unwrap();
        assert!(none.contains("no node that it may use shares"), "{none}");
    }

    #[test]
    fn whole_cards_are_not_compared_with_slots() {
        assert_eq!(told(vec![node("a", Mode::Mps(4))], 2000, 0), None);
    }
}
