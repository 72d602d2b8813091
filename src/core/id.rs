//! Names of things. Their order is the order that breaks ties, so it is by name, never by UID.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $type(Arc<str>);

        impl Default for $type {
            fn default() -> Self {
                Self::from("")
            }
        }

        impl $type {
            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name! {
    /// A tenant, by its name.
    TenantId
}
name! {
    /// A node, by its name.
    NodeId
}
name! {
    /// A model of GPU, such as `H100`; empty where it is not known.
    Model
}
name! {
    /// A pod that is no task of a job, by its UID.
    PodId
}

/// A job. Its UID tells it from an earlier job of the same name and comes last in the order,
/// so that it never decides between jobs of different names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct JobId(Arc<JobName>);

// The order of the fields is the order of the rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct JobName {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
}

impl JobId {
    /// The job `namespace/name` with this UID.
    #[must_use]
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self(Arc::new(JobName {
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
        }))
    }

    /// The namespace that it lives in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.namespace
    }

    /// Its name within the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Its UID; empty where names are unique for good, as in a script.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.uid
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.name())
    }
}

/// One task of a job: in a cluster, one of the pods that run at the same time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TaskId {
    /// The job.
    pub job: JobId,
    /// Which of its tasks, from 0 to the gang's size less one.
    pub index: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.job, self.index)
    }
}
