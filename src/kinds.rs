//! Kinds of objects that an operator makes Jobs or pods of, and that the queue holds by a suspend
//! field of their own. All that differs between them stands in one table.
//!
//! It says where things are in an object, never what follows from them.

use serde_json::Value;

/// A kind of such objects.
#[derive(Debug, PartialEq, Eq)]
pub struct Composite {
    /// Its API group and version.
    pub api_version: &'static str,
    /// Its name.
    pub kind: &'static str,
    /// Its name in paths and permissions.
    pub plural: &'static str,
    /// Where its suspend field is.
    pub suspend: Suspend,
    /// Where it says which pods it consists of.
    pub templates: Templates,
}

/// Where the suspend field of a kind is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspend {
    /// `spec.suspend`.
    Spec,
    /// `spec.runPolicy.suspend`.
    RunPolicy,
}

/// Where a kind says which pods its objects consist of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Templates {
    /// This field of the spec is a list of `{replicas, template}`, each template one of a Job.
    Jobs(&'static str),
    /// This field of the spec is a map of `{replicas, template}`, each template one of a pod.
    Replicas(&'static str),
    /// Nowhere: it makes an object of another kind here, which says so.
    Made,
}

/// The table. Of two versions of a kind the first is read where both are served.
pub static COMPOSITES: [Composite; 9] = [
    Composite {
        api_version: "trainer.kubeflow.org/v1alpha1",
        kind: "TrainJob",
        plural: "trainjobs",
        suspend: Suspend::Spec,
        templates: Templates::Made,
    },
    Composite {
        api_version: "jobset.x-k8s.io/v1alpha2",
        kind: "JobSet",
        plural: "jobsets",
        suspend: Suspend::Spec,
        templates: Templates::Jobs("replicatedJobs"),
    },
    kubeflow(
        "kubeflow.org/v1",
        "PyTorchJob",
        "pytorchjobs",
        "pytorchReplicaSpecs",
    ),
    kubeflow("kubeflow.org/v1", "TFJob", "tfjobs", "tfReplicaSpecs"),
    kubeflow(
        "kubeflow.org/v1",
        "XGBoostJob",
        "xgboostjobs",
        "xgbReplicaSpecs",
    ),
    kubeflow(
        "kubeflow.org/v1",
        "PaddleJob",
        "paddlejobs",
        "paddleReplicaSpecs",
    ),
    kubeflow("kubeflow.org/v1", "JAXJob", "jaxjobs", "jaxReplicaSpecs"),
    kubeflow(
        "kubeflow.org/v2beta1",
        "MPIJob",
        "mpijobs",
        "mpiReplicaSpecs",
    ),
    kubeflow("kubeflow.org/v1", "MPIJob", "mpijobs", "mpiReplicaSpecs"),
];

const fn kubeflow(
    api_version: &'static str,
    kind: &'static str,
    plural: &'static str,
    replicas: &'static str,
) -> Composite {
    Composite {
        api_version,
        kind,
        plural,
        suspend: Suspend::RunPolicy,
        templates: Templates::Replicas(replicas),
    }
}

impl Composite {
    /// The kind that an object says that its owner is of: in any version, as owners are followed by
    /// their UIDs.
    #[must_use]
    pub fn of_owner(api_version: &str, kind: &str) -> Option<&'static Self> {
        let group = group(api_version);
        let mut all = COMPOSITES.iter();
        all.find(|known| known.kind == kind && known.group() == group)
    }

    /// Its API group.
    #[must_use]
    pub fn group(&self) -> &'static str {
        group(self.api_version)
    }

    /// Its version in that group.
    #[must_use]
    pub fn version(&self) -> &'static str {
        let (_, version) = self.api_version.split_once('/').unwrap_or_default();
        version
    }

    /// The name by which the API server knows it in this version: `jobsets.v1alpha2.jobset.x-k8s.io`.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}.{}", self.plural, self.version(), self.group())
    }

    /// The JSON pointer of its suspend field.
    #[must_use]
    pub const fn suspend_path(&self) -> &'static str {
        match self.suspend {
            Suspend::Spec => "/spec/suspend",
            Suspend::RunPolicy => "/spec/runPolicy/suspend",
        }
    }

    /// What the same field holds that suspend is in, of an object's content.
    #[must_use]
    pub fn policy<'a>(&self, object: &'a Value, field: &str) -> &'a Value {
        match self.suspend {
            Suspend::Spec => &object["spec"][field],
            Suspend::RunPolicy => &object["spec"]["runPolicy"][field],
        }
    }
}

fn group(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_known_in_every_version_and_in_no_other_group() {
        let of = |version, kind| Composite::of_owner(version, kind).map(|known| known.plural);
        assert_eq!(of("kubeflow.org/v1", "MPIJob"), Some("mpijobs"));
        assert_eq!(of("jobset.x-k8s.io/v1beta7", "JobSet"), Some("jobsets"));
        assert_eq!(of("example.com/v1", "JobSet"), None);
        assert_eq!(of("v1", "Pod"), None);
    }

    #[test]
    fn names_are_those_of_the_api_server() {
        let names: Vec<String> = COMPOSITES.iter().map(Composite::full_name).collect();
        assert_eq!(names[1], "jobsets.v1alpha2.jobset.x-k8s.io");
        assert_eq!(names[7], "mpijobs.v2beta1.kubeflow.org");
    }
}
