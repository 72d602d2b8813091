//! Objects that operators make Jobs or pods of, by the table of their kinds.

use std::num::NonZeroU32;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::JobSpec;
use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::api::DynamicObject;
use prorata_core::{JobId, Needs, Others, Resource, Resources};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::job::{Form, JobView, Part, gang, is_at_once, max_duration};
use super::progress::checkpointed;
use super::template::Template;
use super::{annotation, composite_owner, controller, created, version};
use crate::api::labels;
use crate::kinds::{Composite, Templates};

/// JobSet has pods of one Job keep all others away from their nodes, which no plan respects.
const EXCLUSIVE: &str = "alpha.jobset.sigs.k8s.io/exclusive-topology";

/// Conditions by which their operators say that an object is over.
const ENDS: [&str; 4] = ["Complete", "Completed", "Succeeded", "Failed"];

/// The pods of one template.
struct Group {
    count: u32,
    /// How many of them are over for good.
    over: u32,
    /// How many run, where their operator says so.
    active: u32,
    at_once: bool,
    spec: PodSpec,
    metadata: Option<ObjectMeta>,
}

/// What the pods of all templates ask for that name GPUs, as a gang of equal pods.
#[derive(Default)]
struct Asked {
    names_gpus: bool,
    gang: u32,
    over: u32,
    active: u32,
    /// Whether all pods of each template run at the same time.
    at_once: bool,
    /// Of each resource as much as the pod that asks for most of it.
    task: Resources,
    needs: Arc<Needs>,
    skew: Option<NonZeroU32>,
    obstacle: Option<String>,
    priority_class: Option<String>,
}

impl JobView {
    /// What the controller keeps of an object of this kind.
    #[must_use]
    pub fn of_composite(
        kind: &'static Composite,
        object: &DynamicObject,
        gpu_resource: &str,
    ) -> Self {
        let (metadata, content) = (&object.metadata, &object.data);
        let asked = match groups(kind, content) {
            Ok(groups) => Asked::of(&groups, gpu_resource),
            Err(error) => Asked::unreadable(error),
        };
        let deadline = kind.policy(content, "activeDeadlineSeconds").as_i64();
        let (max_duration, endless) = match max_duration(metadata, deadline) {
            Ok(span) => (span, None),
            Err(error) => (None, Some(error)),
        };
        let obstacle = asked.obstacle.or(endless).or_else(|| constraint(object));
        let namespace = object.namespace().unwrap_or_default();
        Self {
            id: JobId::new(
                &namespace,
                &object.name_any(),
                &object.uid().unwrap_or_default(),
            ),
            form: Form::Composite(kind),
            version: version(metadata),
            generation: metadata.generation.unwrap_or_default(),
            created: created(metadata),
            is_queued: asked.names_gpus && controller(metadata).is_none(),
            asks: asked.names_gpus,
            owner: composite_owner(metadata),
            is_suspended: kind.policy(content, "suspend") == true,
            is_held: annotation(metadata, labels::HELD) == Some("true"),
            epoch: annotation(metadata, labels::EPOCH).and_then(|text| text.parse().ok()),
            has_begun: false,
            creator: annotation(metadata, labels::CREATED_BY).map(str::to_owned),
            begun: None,
            ended: None,
            has_ended: ENDS.iter().any(|end| has_condition(content, end)),
            is_quiet: has_condition(content, "Suspended") && active(content) == 0,
            // Whoever comes when others are done is not missed before.
            active: if is_ordered(content) {
                asked.gang
            } else {
                asked.active
            },
            terminating: 0,
            // Its pods have the names of those before them.
            awaits_ends: matches!(kind.templates, Templates::Replicas(_)),
            checkpointed: checkpointed(metadata),
            is_leaving: metadata.deletion_timestamp.is_some(),
            gang: asked.gang,
            remaining: asked.gang.saturating_sub(asked.over),
            at_once: asked.at_once,
            indexed: false,
            task: match obstacle {
                None => asked.task,
                Some(_) => Resources::ZERO,
            },
            needs: asked.needs,
            skew: asked.skew,
            max_duration,
            preemptible: true,
            part: Part::Whole,
            obstacle,
            priority_class: annotation(metadata, labels::PRIORITY_CLASS)
                .map(str::to_owned)
                .or(asked.priority_class),
            has_annotations: metadata.annotations.is_some(),
            affinity: None,
            condition: None,
        }
    }
}

impl Group {
    fn new(count: u32, [over, active]: [u32; 2], template: PodTemplateSpec) -> Self {
        Self {
            count,
            over,
            active,
            at_once: true,
            spec: template.spec.unwrap_or_default(),
            metadata: template.metadata,
        }
    }
}

impl Asked {
    fn of(groups: &[Group], gpu_resource: &str) -> Self {
        let mut asked = Self::default();
        for group in groups.iter().filter(|group| group.count > 0) {
            let affinity = group.spec.affinity.as_ref();
            let said = group.metadata.as_ref();
            let template = Template::new(&group.spec, said, affinity, gpu_resource);
            // kube-scheduler finds a place for pods without GPUs, as for any other such.
            if template.names_gpus {
                asked.add(group, template);
            }
        }
        asked
    }

    fn add(&mut self, group: &Group, template: Template) {
        let elsewhere = |needs: &Needs| Needs {
            others: Others::NONE,
            per_node: None,
            ..needs.clone()
        };
        let mut needs = elsewhere(&template.needs);
        let differ = self.names_gpus && elsewhere(&self.needs) != needs;
        needs.others = self.needs.others.greater(&template.needs.others);
        needs.per_node = strictest(self.needs.per_node, template.needs.per_node);
        let differ = differ.then(|| {
            "its pod templates with GPUs demand different nodes, which cannot be planned for yet: \
             give them the same nodeSelector, node affinity and tolerations"
                .to_owned()
        });
        self.obstacle = self.obstacle.take().or(template.obstacle).or(differ);
        self.task = greater(&self.task, &template.task);
        self.gang = self.gang.saturating_add(group.count);
        self.over = self.over.saturating_add(group.over.min(group.count));
        self.active = self.active.saturating_add(group.active);
        self.at_once = group.at_once && (self.at_once || !self.names_gpus);
        self.priority_class = self.priority_class.take().or(template.priority_class);
        self.needs = needs.into();
        self.skew = strictest(self.skew, template.skew);
        self.names_gpus = true;
    }

    /// Whatever cannot be read may ask for GPUs.
    fn unreadable(error: String) -> Self {
        Self {
            names_gpus: true,
            gang: 1,
            obstacle: Some(error),
            ..Self::default()
        }
    }
}

fn strictest(one: Option<NonZeroU32>, other: Option<NonZeroU32>) -> Option<NonZeroU32> {
    one.into_iter().chain(other).min()
}

fn greater(one: &Resources, other: &Resources) -> Resources {
    let all = Resource::ALL.into_iter();
    all.fold(Resources::ZERO, |most, resource| {
        let amount = one.get(resource).max(other.get(resource));
        most.with(resource, amount)
    })
}

/// The templates of an object, each with the pods of it that run at the same time.
fn groups(kind: &Composite, content: &Value) -> Result<Vec<Group>, String> {
    match kind.templates {
        Templates::Made => Ok(Vec::new()),
        Templates::Jobs(field) => {
            let jobs = content["spec"][field].as_array().into_iter().flatten();
            jobs.enumerate()
                .map(|(at, job)| {
                    let spec = &job["template"]["spec"];
                    let spec: JobSpec = read(spec, &format!("spec.{field}[{at}].template"))?;
                    let count = gang(&spec).saturating_mul(replicas(job));
                    // Its Jobs say themselves how many of theirs are over, and run.
                    let at_once = is_at_once(&spec);
                    Ok(Group {
                        at_once,
                        ..Group::new(count, [0, 0], spec.template)
                    })
                })
                .collect()
        }
        Templates::Replicas(field) => {
            let all = content["spec"][field].as_object().into_iter().flatten();
            all.map(|(role, group)| {
                let path = format!("spec.{field}.{role}.template");
                let template: PodTemplateSpec = read(&group["template"], &path)?;
                let status = &content["status"]["replicaStatuses"][role];
                let said = ["succeeded", "active"].map(|field| count(&status[field]));
                Ok(Group::new(replicas(group), said, template))
            })
            .collect()
        }
    }
}

fn read<T: DeserializeOwned>(value: &Value, path: &str) -> Result<T, String> {
    T::deserialize(value).map_err(|error| format!("{path} cannot be read: {error}"))
}

/// One where nothing is said.
fn replicas(group: &Value) -> u32 {
    let said = group["replicas"].as_i64().unwrap_or(1);
    u32::try_from(said).unwrap_or_default()
}

/// None where nothing is said.
fn count(said: &Value) -> u32 {
    u32::try_from(said.as_u64().unwrap_or_default()).unwrap_or(u32::MAX)
}

fn constraint(object: &DynamicObject) -> Option<String> {
    let jobs = object.data["spec"]["replicatedJobs"].as_array();
    let exclusive = |job: &Value| !job["template"]["metadata"]["annotations"][EXCLUSIVE].is_null();
    let is_exclusive = annotation(&object.metadata, EXCLUSIVE).is_some()
        || jobs.is_some_and(|jobs| jobs.iter().any(exclusive));
    is_exclusive.then(|| format!("annotation {EXCLUSIVE} cannot be planned for yet: remove it"))
}

/// Whether some of its pods start only when others have.
fn is_ordered(content: &Value) -> bool {
    let spec = &content["spec"];
    let jobs = spec["replicatedJobs"].as_array();
    spec["startupPolicy"]["startupPolicyOrder"] == "InOrder"
        || jobs.is_some_and(|jobs| jobs.iter().any(|job| job["dependsOn"].is_array()))
}

fn has_condition(content: &Value, wanted: &str) -> bool {
    let conditions = content["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition["type"] == wanted && condition["status"] == "True")
}

/// Pods that an operator says run, with GPUs and without; Jobs say it of theirs themselves.
fn active(content: &Value) -> u32 {
    let roles = content["status"]["replicaStatuses"].as_object();
    let roles = roles.into_iter().flatten();
    let active = roles.map(|(_, status)| count(&status["active"]));
    active.fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const GPU: &str = "nvidia.com/gpu";

    fn view(kind: &str, metadata: Value, spec: Value, status: Value) -> JobView {
        let kind = crate::kinds::COMPOSITES.iter().find(|k| k.kind == kind);
        let mut object = json!({"metadata": metadata, "spec": spec, "status": status});
        object["metadata"]["namespace"] = "red".into();
        object["metadata"]["name"] = "train".into();
        let object = serde_json::from_value(object).unwrap();
        JobView::of_composite(kind.unwrap(), &object, GPU)
    }

    fn template(gpus: u32, cpu: u32) -> Value {
        let mut limits = json!({"cpu": cpu.to_string()});
        if gpus > 0 {
            limits[GPU] = json!(gpus.to_string());
        }
        json!({"spec": {"containers": [{"name": "c", "resources": {"limits": limits}}]}})
    }

    fn jobs(name: &str, replicas: u32, parallelism: u32, template: Value) -> Value {
        let spec = json!({
            "parallelism": parallelism, "completions": parallelism, "template": template,
        });
        json!({"name": name, "replicas": replicas, "template": {"spec": spec}})
    }

    fn job_set(jobs: &[Value]) -> JobView {
        let spec = json!({"suspend": true, "replicatedJobs": jobs});
        view("JobSet", json!({}), spec, json!({}))
    }

    #[test]
    fn a_gang_is_of_all_pods_with_gpus_and_each_as_large_as_the_largest() {
        let view = job_set(&[
            jobs("driver", 1, 1, template(0, 32)),
            jobs("leader", 1, 1, template(1, 8)),
            jobs("workers", 2, 3, template(4, 2)),
        ]);
        assert_eq!((view.gang, view.remaining), (7, 7));
        assert_eq!(view.task, Resources::gpus(4).with(Resource::Cpu, 8000));
        assert!(view.is_queued && view.is_suspended && view.obstacle.is_none());
        let plain = job_set(&[jobs("driver", 1, 1, template(0, 32))]);
        assert!(!plain.is_queued && !plain.asks);
    }

    #[test]
    fn what_has_no_gang_of_equal_pods_says_so() {
        let mut picky = template(4, 2);
        picky["spec"]["nodeSelector"] = json!({"disk": "ssd"});
        let view = job_set(&[
            jobs("a", 1, 1, template(4, 2)),
            jobs("b", 1, 1, picky.clone()),
        ]);
        assert!(view.obstacle.unwrap().contains("demand different nodes"));
        assert_eq!(view.task, Resources::ZERO);
        let view = job_set(&[jobs("a", 1, 1, picky.clone()), jobs("b", 1, 1, picky)]);
        assert_eq!(view.obstacle, None);
        let view = job_set(&[json!({"name": "a", "template": {"spec": {"template": 5}}})]);
        assert!(view.is_queued, "it may ask for GPUs");
        let obstacle = view.obstacle.unwrap();
        assert!(obstacle.starts_with("spec.replicatedJobs[0].template cannot be read"));
    }

    #[test]
    fn what_wants_a_domain_for_itself_says_that_it_cannot_be_planned() {
        let exclusive = json!({"annotations": {EXCLUSIVE: "rack"}});
        let jobs = jobs("a", 2, 1, template(1, 1));
        let spec = json!({"replicatedJobs": [jobs]});
        let all = view("JobSet", exclusive.clone(), spec, json!({}));
        assert!(all.obstacle.unwrap().contains(EXCLUSIVE));
        let mut one = jobs;
        one["template"]["metadata"] = exclusive;
        assert!(job_set(&[one]).obstacle.unwrap().contains(EXCLUSIVE));
    }

    #[test]
    fn roles_of_an_operator_are_read_by_the_table() {
        let spec = json!({
            "runPolicy": {"suspend": true, "activeDeadlineSeconds": 60},
            "pytorchReplicaSpecs": {
                "Master": {"template": template(1, 1)},
                "Worker": {"replicas": 3, "template": template(1, 1)},
            },
        });
        let status = json!({
            "conditions": [{"type": "Suspended", "status": "True"}],
            "replicaStatuses": {"Master": {"active": 1}, "Worker": {}},
        });
        let view = view("PyTorchJob", json!({}), spec, status);
        assert_eq!(
            (view.gang, view.task),
            (4, Resources::gpus(1).with(Resource::Cpu, 1000))
        );
        assert_eq!(view.max_duration.map(|span| span.as_secs()), Some(60));
        assert!(view.is_suspended && !view.is_quiet && view.active == 1);
        assert!(view.awaits_ends, "the next pod has the name of this one");
        let set = job_set(&[jobs("workers", 1, 1, template(1, 1))]);
        assert!(!set.awaits_ends, "it makes no pods");
    }

    #[test]
    fn pods_that_are_over_are_not_missed() {
        let role =
            |replicas: u32, gpus| json!({"replicas": replicas, "template": template(gpus, 1)});
        let spec = json!({"mpiReplicaSpecs": {"Launcher": role(1, 0), "Worker": role(7, 1)}});
        let status =
            json!({"replicaStatuses": {"Launcher": {"succeeded": 1}, "Worker": {"succeeded": 2}}});
        let seen = view("MPIJob", json!({}), spec.clone(), status);
        assert_eq!((seen.gang, seen.remaining), (7, 5));
        let status =
            json!({"replicaStatuses": {"Launcher": {"active": 1}, "Worker": {"active": 6}}});
        let seen = view("MPIJob", json!({}), spec, status);
        assert_eq!(seen.active, 6, "one with GPUs is missed");
    }

    #[test]
    fn what_another_object_holds_is_not_queued_itself() {
        let owned = |api_version: &str, kind: &str| {
            let owner = json!({
                "apiVersion": api_version, "kind": kind, "name": "o", "uid": "u", "controller": true,
            });
            let spec = json!({"replicatedJobs": [jobs("a", 1, 1, template(1, 1))]});
            let metadata = json!({"ownerReferences": [owner]});
            let view = view("JobSet", metadata, spec, json!({}));
            (view.is_queued, view.owner)
        };
        let trainer = "trainer.kubeflow.org/v1alpha1";
        assert_eq!(owned(trainer, "TrainJob"), (false, Some("u".to_owned())));
        assert_eq!(owned("example.com/v1", "TrainJob"), (false, None));
    }

    #[test]
    fn pods_that_start_at_once_are_of_use_only_together() {
        let at_once = |spec: Value| {
            let mut jobs = json!({"name": "a", "replicas": 2, "template": {"spec": spec}});
            jobs["template"]["spec"]["template"] = template(1, 1);
            job_set(&[jobs]).at_once
        };
        assert!(at_once(json!({})), "one pod of each Job");
        assert!(at_once(json!({"parallelism": 3, "completions": 3})));
        assert!(!at_once(json!({"parallelism": 3})), "until one succeeds");
        assert!(!at_once(json!({"parallelism": 1, "completions": 3})));
    }

    #[test]
    fn an_order_of_start_is_no_reason_to_miss_pods() {
        let first = jobs("a", 1, 2, template(1, 1));
        let mut second = jobs("b", 1, 2, template(1, 1));
        assert_eq!(job_set(&[first.clone(), second.clone()]).active, 0);
        let in_order = |order: &str| {
            let spec = json!({
                "replicatedJobs": [first.clone(), second.clone()],
                "startupPolicy": {"startupPolicyOrder": order},
            });
            view("JobSet", json!({}), spec, json!({})).active
        };
        assert_eq!((in_order("AnyOrder"), in_order("InOrder")), (0, 4));
        second["dependsOn"] = json!([{"name": "a", "status": "Complete"}]);
        assert_eq!(job_set(&[first, second]).active, 4);
    }
}
