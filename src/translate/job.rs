//! Jobs.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1 as k8s;
use k8s_openapi::api::core::v1::{Affinity, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use prorata_core::{Hold, Job, JobId, Needs, Placement, Resources, TenantId, Time};

use super::template::Template;
use super::{annotation, composite_owner, controller, created, plan, progress, version};
use crate::api::labels;
use crate::duration;
use crate::kinds::Composite;

/// What stands for a job of the queue in the cluster, and with it how the queue holds it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A Job, by its field `suspend`.
    Job,
    /// A pod, by its scheduling gate.
    Pod,
    /// Pods that start together, by the gate of each.
    Gang,
    /// An object that an operator makes Jobs or pods of, by its own suspend field.
    Composite(&'static Composite),
}

impl Form {
    /// The `apiVersion` of its object.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::Job => "batch/v1",
            Self::Pod | Self::Gang => "v1",
            Self::Composite(kind) => kind.api_version,
        }
    }

    /// The `kind` of its object.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Job => "Job",
            Self::Pod | Self::Gang => "Pod",
            Self::Composite(kind) => kind.kind,
        }
    }

    /// Whether a suspend field holds it, and ends its pods; otherwise gates do, and evictions.
    #[must_use]
    pub const fn suspends(self) -> bool {
        matches!(self, Self::Job | Self::Composite(_))
    }
}

/// How much of a Job must start together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Part {
    /// All pods that run at the same time.
    #[default]
    Whole,
    /// So many pods; the others follow one by one. Its pods are gated, and it is not suspended.
    AtLeast(u32),
}

/// What the controller keeps of a job: of a Job, or of pods that wait in the queue themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct JobView {
    /// Namespace, name and UID.
    pub id: JobId,
    /// What stands for it in the cluster.
    pub form: Form,
    /// Grows with each change.
    pub version: u64,
    /// Grows with each change of the spec.
    pub generation: i64,
    /// When it was created.
    pub created: Time,
    /// Whether the queue starts it: it asks for GPUs, and nothing above it does.
    pub is_queued: bool,
    /// Whether its pods ask for GPUs.
    pub asks: bool,
    /// UID of the object that holds it, where it is a part of one.
    pub owner: Option<String>,
    /// Whether its spec says so now.
    pub is_suspended: bool,
    /// Its user holds it.
    pub is_held: bool,
    /// The admission that last released it.
    pub epoch: Option<i64>,
    /// A pod of it has been let go. Of a Job the epoch says more.
    pub has_begun: bool,
    /// Who created it, as far as an admission policy has seen to that.
    pub creator: Option<String>,
    /// When Kubernetes began to run it, where its object says so.
    pub begun: Option<Time>,
    /// When it was complete or had failed, where its object says so.
    pub ended: Option<Time>,
    /// Complete or failed. Kubernetes says so only once all its pods are gone.
    pub has_ended: bool,
    /// Kubernetes has seen that it is suspended and has ended its pods; they may still be leaving.
    pub is_quiet: bool,
    /// Pods that exist and are neither over nor leaving.
    pub active: u32,
    /// Pods that are leaving, as Kubernetes counts them. Those of operators' objects nobody counts.
    pub terminating: u32,
    /// Whether a pod that it makes itself is made anew only once the one before it is known to have ended,
    /// and not as soon as that one is told to leave.
    pub awaits_ends: bool,
    /// When it last saved its work.
    pub checkpointed: Option<Time>,
    /// It is being deleted; its pods may still run.
    pub is_leaving: bool,
    /// Pods that run at the same time.
    pub gang: u32,
    /// Pods that are still to run at the same time.
    pub remaining: u32,
    /// Whether all of its pods run at the same time, so that none is of use without the others.
    pub at_once: bool,
    /// Whether its pods are told apart by completion indexes, of which there are as many as pods that
    /// run at the same time. Where there are more, those that run may have any.
    pub indexed: bool,
    /// What each of its pods requests; nothing where that cannot be planned.
    pub task: Resources,
    /// What each of its pods demands of its node.
    pub needs: Arc<Needs>,
    /// By how many of its pods one node may have more than another; `None`: by any.
    pub skew: Option<NonZeroU32>,
    /// It ends by then.
    pub max_duration: Option<Duration>,
    /// Whether it may be evicted: something makes its pods anew, or its user does not mind.
    pub preemptible: bool,
    /// How much of it must start together.
    pub part: Part,
    /// Why it cannot be planned, for its user.
    pub obstacle: Option<String>,
    /// The PriorityClass that orders it: its annotation's, else its pods'.
    pub priority_class: Option<String>,
    /// Whether it has annotations at all.
    pub has_annotations: bool,
    /// The affinity of its user, without ours.
    pub affinity: Option<Affinity>,
    /// Our condition on it: its status and reason.
    pub condition: Option<(String, String)>,
}

/// Type of our condition on a Job.
pub const JOB_CONDITION: &str = "prorata.dev/Admitted";

impl JobView {
    /// Whether the places of an admission go by completion indexes.
    #[must_use]
    pub fn is_indexed_in(&self, placement: &Placement) -> bool {
        self.indexed && usize::try_from(self.gang) == Ok(placement.slots().len())
    }

    /// What the controller keeps of `job`.
    #[must_use]
    pub fn new(job: &k8s::Job, gpu_resource: &str) -> Self {
        let metadata = &job.metadata;
        let spec = job.spec.as_ref();
        let pods = spec.map(|spec| &spec.template);
        let template = pods.and_then(|pods| pods.spec.as_ref());
        let said = pods.and_then(|pods| pods.metadata.as_ref());
        let epoch = annotation(metadata, labels::EPOCH).and_then(|text| text.parse().ok());
        let affinity = template.and_then(|template| template.affinity.as_ref());
        let affinity = match epoch {
            Some(_) => plan::without_ours(affinity),
            None => affinity.cloned(),
        };
        let read = |spec| Template::new(spec, said, affinity.as_ref(), gpu_resource);
        let asked = template.map(read).unwrap_or_default();
        let deadline = spec.and_then(|s| s.active_deadline_seconds);
        let (max_duration, endless) = match max_duration(metadata, deadline) {
            Ok(span) => (span, None),
            Err(error) => (None, Some(error)),
        };
        let obstacle = asked.obstacle.or(endless);
        let namespace = job.namespace().unwrap_or_default();
        let part = template.map_or(Part::Whole, |template| part(metadata, template));
        Self {
            id: JobId::new(&namespace, &job.name_any(), &job.uid().unwrap_or_default()),
            form: Form::Job,
            version: version(metadata),
            generation: metadata.generation.unwrap_or_default(),
            created: created(metadata),
            is_queued: asked.names_gpus && is_topmost(job) && part == Part::Whole,
            asks: asked.names_gpus,
            owner: composite_owner(metadata),
            is_suspended: spec.and_then(|s| s.suspend).unwrap_or_default(),
            is_held: annotation(metadata, labels::HELD) == Some("true"),
            epoch,
            has_begun: false,
            creator: annotation(metadata, labels::CREATED_BY).map(str::to_owned),
            begun: progress::begun(job),
            ended: progress::ended(job),
            has_ended: progress::end(job).is_some(),
            is_quiet: progress::is_quiet(job),
            active: progress::active(job),
            terminating: progress::terminating(job),
            // Kubernetes says so of each that has a podFailurePolicy.
            awaits_ends: spec
                .is_some_and(|spec| spec.pod_replacement_policy.as_deref() == Some("Failed")),
            checkpointed: progress::saved(job),
            is_leaving: metadata.deletion_timestamp.is_some(),
            gang: spec.map_or(1, gang),
            remaining: spec.map_or(1, |spec| gang(spec).min(progress::left(spec, job))),
            at_once: spec.is_some_and(is_at_once),
            indexed: spec.is_some_and(is_told_by_index),
            task: match obstacle {
                None => asked.task,
                Some(_) => Resources::ZERO,
            },
            needs: asked.needs,
            skew: asked.skew,
            max_duration,
            preemptible: true,
            part,
            obstacle,
            priority_class: annotation(metadata, labels::PRIORITY_CLASS)
                .map(str::to_owned)
                .or(asked.priority_class),
            has_annotations: metadata.annotations.is_some(),
            affinity,
            condition: progress::told(job),
        }
    }

    /// The job as the core sees it.
    #[must_use]
    pub fn job(&self, tenant: TenantId, priority: i32) -> Job {
        Job {
            priority,
            submitted: self.created,
            needs: self.needs.clone(),
            hold: self.is_held.then_some(Hold::User),
            max_duration: self.max_duration,
            preemptible: self.preemptible,
            ..Job::new(self.id.clone(), tenant, self.gang, self.task)
        }
    }
}

/// A Job whose template has our gate starts in part.
fn part(metadata: &ObjectMeta, template: &PodSpec) -> Part {
    let mut gates = template.scheduling_gates.iter().flatten();
    if !gates.any(|gate| gate.name == labels::GATE) {
        return Part::Whole;
    }
    let least = annotation(metadata, labels::GANG).and_then(|text| text.parse().ok());
    Part::AtLeast(least.unwrap_or(1))
}

/// As many pods as run at the same time, once all have started.
pub(super) fn gang(spec: &k8s::JobSpec) -> u32 {
    let parallelism = spec.parallelism.unwrap_or(1);
    let completions = spec.completions.unwrap_or(parallelism);
    u32::try_from(parallelism.min(completions)).unwrap_or_default()
}

/// Whether each pod that runs has an index of its own below the number of those that run together.
fn is_told_by_index(spec: &k8s::JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed") && is_at_once(spec)
}

pub(super) fn is_at_once(spec: &k8s::JobSpec) -> bool {
    // In the template of another object nothing has been filled in.
    let alone = spec.parallelism.is_none().then_some(1);
    let all = spec.completions.or(alone);
    let all = all.and_then(|all| u32::try_from(all).ok());
    all.is_some_and(|all| all <= gang(spec))
}

/// A Job that something else made is held at its topmost owner; only CronJobs leave it to us.
fn is_topmost(job: &k8s::Job) -> bool {
    controller(&job.metadata)
        .is_none_or(|owner| owner.kind == "CronJob" && owner.api_version.starts_with("batch/"))
}

/// By when a job ends: Kubernetes ends it after `deadline` seconds, or its user says so, whichever
/// is sooner.
pub(super) fn max_duration(
    metadata: &ObjectMeta,
    deadline: Option<i64>,
) -> Result<Option<Duration>, String> {
    let deadline = deadline.and_then(|seconds| u64::try_from(seconds).ok());
    let promise = annotation(metadata, labels::MAX_DURATION).map(duration::parse);
    let promise = promise
        .transpose()
        .map_err(|error| format!("annotation {}: {error}", labels::MAX_DURATION))?;
    let deadline = deadline.map(Duration::from_secs);
    Ok(deadline.into_iter().chain(promise).min())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn view(metadata: Value, spec: Value, status: Value) -> JobView {
        let mut object = json!({"metadata": metadata, "spec": spec, "status": status});
        object["metadata"]["namespace"] = "red".into();
        object["metadata"]["name"] = "train".into();
        JobView::new(&serde_json::from_value(object).unwrap(), "nvidia.com/gpu")
    }

    fn spec(extra: Value) -> Value {
        let container = json!({"name": "c", "resources": {"limits": {"nvidia.com/gpu": 2}}});
        let mut spec = json!({"template": {"spec": {"containers": [container]}}});
        for (key, value) in extra.as_object().unwrap() {
            spec[key] = value.clone();
        }
        spec
    }

    #[test]
    fn the_gang_is_what_runs_at_the_same_time() {
        let gang = |extra| view(json!({}), spec(extra), json!({})).gang;
        assert_eq!(gang(json!({})), 1);
        assert_eq!(gang(json!({"parallelism": 8})), 8);
        assert_eq!(gang(json!({"parallelism": 8, "completions": 3})), 3);
        assert_eq!(gang(json!({"parallelism": 2, "completions": 9})), 2);
        assert_eq!(gang(json!({"parallelism": 0})), 0);
    }

    #[test]
    fn only_jobs_that_name_gpus_and_have_no_owner_but_a_cronjob_are_queued() {
        let owned = |kind: &str| {
            let owner = json!({"apiVersion": "batch/v1", "kind": kind, "name": "o", "uid": "u", "controller": true});
            view(
                json!({"ownerReferences": [owner]}),
                spec(json!({})),
                json!({}),
            )
            .is_queued
        };
        assert!(view(json!({}), spec(json!({})), json!({})).is_queued);
        assert!(owned("CronJob"));
        assert!(!owned("JobSet"));
        let plain = json!({"template": {"spec": {"containers": [{"name": "c"}]}}});
        assert!(!view(json!({}), plain, json!({})).is_queued);
    }

    #[test]
    fn pods_that_come_one_after_the_other_are_of_use_alone() {
        let at_once = |extra| view(json!({}), spec(extra), json!({})).at_once;
        assert!(at_once(json!({"parallelism": 4, "completions": 4})));
        assert!(!at_once(json!({"parallelism": 4, "completions": 5})));
        assert!(!at_once(json!({"parallelism": 4})), "they share the work");
    }

    #[test]
    fn whether_the_end_of_a_pod_is_waited_for_is_for_its_spec_to_say() {
        let awaits = |extra| view(json!({}), spec(extra), json!({})).awaits_ends;
        assert!(!awaits(json!({})));
        assert!(!awaits(
            json!({"podReplacementPolicy": "TerminatingOrFailed"})
        ));
        assert!(awaits(json!({"podReplacementPolicy": "Failed"})));
    }

    #[test]
    fn a_job_that_is_deleted_leaves() {
        let deleted = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert!(view(deleted, spec(json!({})), json!({})).is_leaving);
    }

    fn with_template(field: &str, value: Value) -> JobView {
        let mut spec = spec(json!({}));
        spec["template"]["spec"][field] = value;
        view(json!({}), spec, json!({}))
    }

    #[test]
    fn what_cannot_be_planned_says_so() {
        let obstacle = |field: &str, value: Value| {
            let view = with_template(field, value);
            assert_eq!(view.task, Resources::ZERO);
            view.obstacle.unwrap()
        };
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let label = json!({"key": "metadata.name", "operator": "Exists"});
        let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [label]}]});
        let misread = json!({"nodeAffinity": {required: terms}});
        assert!(obstacle("affinity", misread).starts_with("node affinity by a label"));
    }

    #[test]
    fn how_far_apart_its_pods_must_be_is_read_with_the_labels_of_its_template() {
        let mut spec = spec(json!({}));
        let own = json!({"matchLabels": {"app": "train"}});
        let host = "kubernetes.io/hostname";
        spec["template"]["metadata"] = json!({"labels": {"app": "train"}});
        spec["template"]["spec"]["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": host, "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": own,
        }]);
        let term = json!({"labelSelector": own, "topologyKey": host});
        spec["template"]["spec"]["affinity"] = json!({
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
        });
        let view = view(json!({}), spec, json!({}));
        assert_eq!(view.obstacle, None);
        assert_eq!(view.skew.map(u32::from), Some(1));
        assert_eq!(view.needs.per_node.map(u32::from), Some(1));
    }

    #[test]
    fn what_it_demands_of_nodes_is_planned_for() {
        let view = with_template("nodeSelector", json!({"disk": "ssd"}));
        assert_eq!(view.obstacle, None);
        let job = view.job("red".into(), 0);
        assert_eq!(job.needs.selector, [("disk".into(), "ssd".into())]);
    }

    /// Only what a release has written is ours.
    #[test]
    fn the_names_of_planned_nodes_are_no_demand_of_its_user() {
        let field = json!({"key": "metadata.name", "operator": "In", "values": ["a"]});
        let terms = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution": terms});
        let mut pinned = spec(json!({}));
        pinned["template"]["spec"]["affinity"] = json!({"nodeAffinity": required});
        let new = view(json!({}), pinned.clone(), json!({}));
        assert_eq!(new.needs.affinity.len(), 1);
        let released = json!({"annotations": {labels::EPOCH: "7"}});
        let released = view(released, pinned, json!({}));
        assert!(released.needs.affinity.is_empty());
        assert_eq!(released.affinity, None);
    }

    #[test]
    fn it_ends_by_its_deadline_or_as_its_user_says_whichever_is_sooner() {
        let read = |said: Option<&str>, deadline: Value| {
            let annotations = said.map(|text| json!({labels::MAX_DURATION: text}));
            view(
                json!({"annotations": annotations}),
                spec(json!({"activeDeadlineSeconds": deadline})),
                json!({}),
            )
        };
        let end = |said, deadline| {
            read(said, deadline)
                .job("red".into(), 0)
                .max_duration
                .map(|span| span.as_secs())
        };
        assert_eq!(end(None, json!(null)), None);
        assert_eq!(end(None, json!(60)), Some(60));
        assert_eq!(end(Some("1h30m"), json!(null)), Some(5400));
        assert_eq!(end(Some("1h30m"), json!(60)), Some(60));
        assert_eq!(end(Some("30s"), json!(60)), Some(30));
        assert_eq!(
            read(Some("soon"), json!(60)).obstacle.unwrap(),
            "annotation prorata.dev/max-duration: `soon` is not a duration, expected one such as 90s, 15m or 1h30m"
        );
    }
}
