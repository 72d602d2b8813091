//! Pods that wait in the queue themselves, by a scheduling gate: alone, or as a gang.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as k8s;
use kube::ResourceExt;
use prorata_core::{JobId, Needs, Resources, Time};

use super::job::{Form, JobView, Part, max_duration};
use super::template::Template;
use super::{PodView, annotation, controller, created};
use crate::api::labels;
use crate::kinds::Composite;

/// The Job controller as the API server sees it.
pub const JOB_CONTROLLER: &str = "system:serviceaccount:kube-system:job-controller";

/// How the names of Kubernetes' own controllers begin. What they make has a controller from the start.
pub const KUBERNETES: &str = "system:serviceaccount:kube-system:";

/// What the controller keeps of a pod that came into the queue, besides what it keeps of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gated {
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created: Time,
    /// Who created it: what its owner references say of that may be forged.
    pub creator: String,
    /// UID and kind of what it says controls it.
    pub controller: Option<(String, String)>,
    /// The gang that it names.
    pub gang: Option<String>,
    /// How many pods it says that gang has.
    pub size: u32,
    /// Our gate holds it back.
    pub is_waiting: bool,
    /// Nobody else's gate does.
    pub is_ready: bool,
    /// Whether it may be evicted.
    pub preemptible: bool,
    /// What it demands of its node.
    pub needs: Arc<Needs>,
    /// By how many pods of its gang one node may have more than another; `None`: by any.
    pub skew: Option<NonZeroU32>,
    /// It ends by then.
    pub max_duration: Option<Duration>,
    /// Why it cannot be planned, for its user.
    pub obstacle: Option<String>,
    /// Its PriorityClass.
    pub priority_class: Option<String>,
}

/// A pod that the Job controller made, and that its Job does not control any more: as it was deleted
/// without its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// UID of that Job.
    pub job: String,
    /// What it is in the queue, where it goes on by itself.
    pub gated: Arc<Gated>,
}

impl Left {
    /// What the controller keeps of `pod`; `None` if it is no such pod, or on no node. Its label says whose it
    /// was, which only Kubernetes may change; what an operator's object controls is that one's, whatever it says.
    pub(super) fn new(pod: &k8s::Pod, gpu_resource: &str) -> Option<Self> {
        let job = pod.metadata.labels.as_ref()?.get(labels::JOB_UID)?;
        let is_anothers = controller(&pod.metadata).is_some_and(|owner| {
            let is_its = owner.kind == "Job" && owner.uid == *job;
            is_its || Composite::of_owner(&owner.api_version, &owner.kind).is_some()
        });
        let is_bound = pod.spec.as_ref()?.node_name.is_some();
        let creator = annotation(&pod.metadata, labels::CREATED_BY).unwrap_or(JOB_CONTROLLER);
        if is_anothers || !is_bound || creator != JOB_CONTROLLER {
            return None;
        }
        let gated = Gated::by(creator, pod, gpu_resource)?;
        // It runs, whatever it says of how it was to start.
        let gated = Gated {
            controller: None,
            gang: None,
            size: 1,
            obstacle: None,
            ..gated
        };
        Some(Self {
            job: job.clone(),
            gated: gated.into(),
        })
    }
}

impl Gated {
    /// What the controller keeps of `pod`; `None` if it never came into the queue.
    pub(super) fn new(pod: &k8s::Pod, gpu_resource: &str) -> Option<Self> {
        let creator = annotation(&pod.metadata, labels::CREATED_BY)?;
        Self::by(creator, pod, gpu_resource)
    }

    fn by(creator: &str, pod: &k8s::Pod, gpu_resource: &str) -> Option<Self> {
        let metadata = &pod.metadata;
        let spec = pod.spec.as_ref()?;
        let affinity = spec.affinity.as_ref();
        let asked = Template::new(spec, Some(metadata), affinity, gpu_resource);
        let (max_duration, endless) = match max_duration(metadata, spec.active_deadline_seconds) {
            Ok(span) => (span, None),
            Err(error) => (None, Some(error)),
        };
        let gang = annotation(metadata, labels::GANG).map(str::to_owned);
        let (size, unsized_) = match size(pod, gang.is_some()) {
            Ok(size) => (size, None),
            Err(error) => (1, Some(error)),
        };
        let controller = controller(metadata);
        let gates = || spec.scheduling_gates.iter().flatten();
        asked.names_gpus.then_some(Self {
            name: pod.name_any(),
            created: created(metadata),
            creator: creator.to_owned(),
            gang,
            size,
            is_waiting: gates().any(|gate| gate.name == labels::GATE),
            is_ready: gates().all(|gate| gate.name == labels::GATE),
            // Whoever takes what Kubernetes made from its controller gains nothing.
            preemptible: controller.is_some()
                || creator.starts_with(KUBERNETES)
                || annotation(metadata, labels::PREEMPTIBLE) == Some("true"),
            controller: controller.map(|owner| (owner.uid.clone(), owner.kind.clone())),
            needs: asked.needs,
            skew: asked.skew,
            max_duration,
            obstacle: asked.obstacle.or(endless).or(unsized_),
            priority_class: asked.priority_class,
        })
    }

    /// UID of the Job that made it.
    #[must_use]
    pub fn job(&self) -> Option<&str> {
        let (uid, kind) = self.controller.as_ref()?;
        (kind == "Job" && self.creator == JOB_CONTROLLER).then_some(uid)
    }

    /// What stands for its gang's UID: the same for pods of one gang name, namespace, creator and
    /// controller. `None` if it names no gang.
    #[must_use]
    pub fn gang_uid(&self, namespace: &str) -> Option<String> {
        let controller = self.controller.as_ref().map_or("", |(uid, _)| uid);
        let parts = [namespace, &self.creator, controller, self.gang.as_ref()?];
        Some(gang_uid(parts))
    }
}

/// What stands for the UID of the gang of a Job that starts in part.
#[must_use]
pub fn gang_uid_of_job(job: &str) -> String {
    gang_uid(["", "", job, ""])
}

/// By Fowler, Noll and Vo: the same in every process. Nobody but who may make all these pods
/// gains by two that are equal.
fn gang_uid(parts: [&str; 4]) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0xff]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}-gang")
}

fn size(pod: &k8s::Pod, in_gang: bool) -> Result<u32, String> {
    let said = annotation(&pod.metadata, labels::GANG_SIZE);
    let number = said.and_then(|text| text.parse().ok());
    match (in_gang, number.filter(|size| *size > 0)) {
        (false, _) => Ok(1),
        (true, Some(size)) => Ok(size),
        (true, None) => Err(format!(
            "annotation {}: say how many pods the gang of annotation {} has, as in \"4\"",
            labels::GANG_SIZE,
            labels::GANG
        )),
    }
}

/// A gang of pods, or a single one, as the queue sees it: `uid` and `size` are the group's, and
/// `pods` its members that exist, of which there is at least one.
#[must_use]
pub fn group(uid: &str, name: Option<&str>, size: u32, pods: &[(&PodView, &Gated)]) -> JobView {
    let (first, asked) = pods[0];
    let alone = uid == first.uid;
    let differ = |(pod, gated): &(&PodView, &Gated)| {
        pod.takes != first.takes || gated.needs != asked.needs || gated.size != asked.size
    };
    let differ = pods.iter().any(differ).then(|| {
        "the pods of its gang ask for different things: a gang is of equal pods".to_owned()
    });
    let obstacle = asked.obstacle.clone().or(differ);
    let name = name.or(asked.gang.as_deref().filter(|_| !alone));
    JobView {
        id: JobId::new(&first.namespace, name.unwrap_or(&asked.name), uid),
        form: if alone { Form::Pod } else { Form::Gang },
        version: 0,
        generation: 0,
        created: pods
            .iter()
            .map(|(_, g)| g.created)
            .min()
            .unwrap_or_default(),
        is_queued: true,
        asks: true,
        owner: None,
        is_suspended: pods.iter().any(|(_, gated)| gated.is_waiting),
        is_held: pods.iter().any(|(_, gated)| !gated.is_ready),
        epoch: None,
        has_begun: pods.iter().any(|(_, gated)| !gated.is_waiting),
        is_quiet: true,
        active: 0,
        terminating: 0,
        awaits_ends: false,
        checkpointed: None,
        creator: Some(asked.creator.clone()),
        begun: None,
        ended: None,
        has_ended: false,
        // Others may still join a gang.
        is_leaving: alone && first.is_leaving,
        gang: size,
        remaining: size,
        at_once: false,
        indexed: false,
        task: match obstacle {
            None => first.takes,
            Some(_) => Resources::ZERO,
        },
        needs: asked.needs.clone(),
        skew: asked.skew,
        max_duration: asked.max_duration,
        preemptible: pods.iter().all(|(_, gated)| gated.preemptible),
        obstacle,
        priority_class: asked.priority_class.clone(),
        has_annotations: true,
        affinity: None,
        condition: None,
        part: Part::default(),
    }
}
