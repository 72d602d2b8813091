//! The inputs: what both the real cluster and the simulator are given, and nothing else.

use std::fmt;
use std::fmt::Write as _;

/// A Job's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobName(pub(crate) String, pub(crate) String);

impl JobName {
    pub(crate) fn namespace(&self) -> &str {
        &self.0
    }

    pub(crate) fn name(&self) -> &str {
        &self.1
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0, self.1)
    }
}

/// A Job of equal pods that run at the same time.
pub(crate) struct Input {
    pub(crate) name: JobName,
    pub(crate) pods: usize,
    pub(crate) gpus: u32,
    pub(crate) class: Option<&'static str>,
}

/// Three tenants, their nodes and their Jobs.
pub(crate) struct Inputs {
    pub(crate) nodes: u32,
    pub(crate) jobs: Vec<Input>,
}

/// Tenants with their guarantees: 30, 20 and 50 % of 160 GPUs.
pub(crate) const TENANTS: [(&str, u32); 3] = [("audio", 48), ("nlp", 32), ("vision", 80)];

/// PriorityClasses with their values.
pub(crate) const CLASSES: [(&str, i32); 2] = [("urgent", 1000), ("whenever", -10)];

const JOBS_EACH: usize = 40;

impl Inputs {
    /// 120 Jobs of 1 to 16 pods. Sorted by name, as Kubernetes keeps creation times by the second.
    pub(crate) fn new() -> Self {
        let mut random = Sequence(2026);
        let mut jobs = Vec::new();
        for (tenant, _) in TENANTS {
            for number in 0..JOBS_EACH {
                jobs.push(Input {
                    name: JobName(tenant.to_owned(), format!("train-{number:02}")),
                    pods: 1 + random.below(16),
                    gpus: [1, 1, 1, 2, 2, 4][random.below(6)],
                    class: [None, None, None, Some("urgent"), Some("whenever")][random.below(5)],
                });
            }
        }
        Self { nodes: 20, jobs }
    }

    /// How many pods a Job has.
    pub(crate) fn pods(&self, name: &JobName) -> usize {
        self.jobs.iter().find(|job| job.name == *name).unwrap().pods
    }

    /// What is applied: ordinary objects, without a label or annotation of ours on any Job.
    pub(crate) fn manifests(&self) -> String {
        let mut yaml = String::new();
        for (class, value) in CLASSES {
            let _ = write!(
                yaml,
                "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {class}}}\nvalue: {value}\npreemptionPolicy: Never\n"
            );
        }
        for (tenant, gpus) in TENANTS {
            let _ = write!(
                yaml,
                "---\napiVersion: prorata.dev/v1alpha1\nkind: Tenant\nmetadata: {{name: {tenant}}}\nspec: {{guaranteed: {{gpu: {gpus}}}}}\n\
                 ---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {tenant}, labels: {{prorata.dev/tenant: {tenant}}}}}\n"
            );
        }
        self.jobs
            .iter()
            .for_each(|job| yaml.push_str(&manifest(job)));
        yaml
    }
}

fn manifest(job: &Input) -> String {
    let JobName(namespace, name) = &job.name;
    let Input { pods, gpus, .. } = job;
    let class = job
        .class
        .map_or(String::new(), |c| format!("      priorityClassName: {c}\n"));
    format!(
        "---
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  completionMode: Indexed
  parallelism: {pods}
  completions: {pods}
  template:
    spec:
      restartPolicy: Never
{class}      containers:
      - name: main
        image: train
        resources:
          requests: {{cpu: \"2\", memory: 8Gi}}
          limits: {{nvidia.com/gpu: {gpus}}}
"
    )
}

/// The numbers of Knuth's MMIX generator: the same on every machine.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}
