//! Names of things. Their order is the order that breaks ties, so it is by name, never by UID.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cmp::Ordering;
use core::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $type(Arc<str>);

        impl Ord for $type {
            fn cmp(&self, other: &Self) -> Ordering {
                compared(self.0.as_bytes(), other.0.as_bytes())
            }
        }

        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

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

/// A job's names, one after the other, so that one comparison orders by all of them.
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "Names", into = "Names"))]
struct JobName {
    /// Namespace, name and UID, with a [`BETWEEN`] after each of the first two.
    text: Box<str>,
    /// Where the namespace ends, and where the name does.
    ends: (usize, usize),
}

impl Ord for JobName {
    fn cmp(&self, other: &Self) -> Ordering {
        let texts = compared(self.text.as_bytes(), other.text.as_bytes());
        texts.then_with(|| self.ends.cmp(&other.ends))
    }
}

impl PartialOrd for JobName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The order of texts, byte by byte. Names are short, so eight bytes at a time are faster than a call.
fn compared(mut one: &[u8], mut other: &[u8]) -> Ordering {
    while let (Some((a, one_left)), Some((b, other_left))) =
        (one.split_first_chunk::<8>(), other.split_first_chunk::<8>())
    {
        if a != b {
            return u64::from_be_bytes(*a).cmp(&u64::from_be_bytes(*b));
        }
        (one, other) = (one_left, other_left);
    }
    one.iter().cmp(other)
}

/// It comes before all that a name may hold, so that a name goes before those that it begins.
const BETWEEN: char = '\0';

/// A job's names as they are written down.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Names {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
}

impl JobName {
    fn new(namespace: &str, name: &str, uid: &str) -> Self {
        let text = [namespace, name, uid].join(BETWEEN.encode_utf8(&mut [0]));
        let first = namespace.len();
        Self {
            text: text.into(),
            ends: (first, first + 1 + name.len()),
        }
    }
}

impl Default for JobName {
    fn default() -> Self {
        Self::new("", "", "")
    }
}

impl From<Names> for JobName {
    fn from(names: Names) -> Self {
        Self::new(&names.namespace, &names.name, &names.uid)
    }
}

impl From<JobName> for Names {
    fn from(job: JobName) -> Self {
        let job = JobId(Arc::new(job));
        Self {
            namespace: job.namespace().into(),
            name: job.name().into(),
            uid: job.uid().into(),
        }
    }
}

impl fmt::Debug for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Names::from(self.clone());
        f.debug_struct("JobName")
            .field("namespace", &names.namespace)
            .field("name", &names.name)
            .field("uid", &names.uid)
            .finish()
    }
}

impl JobId {
    /// The job `namespace/name` with this UID.
    #[must_use]
    pub fn new(namespace: &str, name: &str, uid: &str) -> Self {
        Self(Arc::new(JobName::new(namespace, name, uid)))
    }

    /// The namespace that it lives in.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.0.text[..self.0.ends.0]
    }

    /// Its name within the namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.text[self.0.ends.0 + 1..self.0.ends.1]
    }

    /// Its UID; empty where names are unique for good, as in a script.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.text[self.0.ends.1 + 1..]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_ordered_by_namespace_then_name_then_uid() {
        let ordered = [
            JobId::new("a", "b", "2"),
            JobId::new("a", "b-c", "1"),
            JobId::new("a", "bc", ""),
            JobId::new("a-b", "a", ""),
            JobId::new("ab", "", "x"),
        ];
        assert!(ordered.is_sorted());
        let parts = ordered.map(|id| [id.namespace(), id.name(), id.uid()].join("/"));
        assert_eq!(parts, ["a/b/2", "a/b-c/1", "a/bc/", "a-b/a/", "ab//x"]);
    }

    #[test]
    fn names_are_ordered_as_texts_are() {
        let texts = [
            "",
            "a",
            "node-001",
            "node-0010",
            "node-0010-b",
            "node-002",
            "node-01",
            "z\u{e9}",
            "gpu-pool-a-node-17",
            "gpu-pool-a-node-170",
            "gpu-pool-b-node-1",
        ];
        for one in texts {
            for other in texts {
                assert_eq!(NodeId::from(one).cmp(&NodeId::from(other)), one.cmp(other));
            }
        }
    }

    #[test]
    fn a_job_without_a_name_is_the_first() {
        let none = JobId::default();
        assert!(none < JobId::new("", "", "1"));
        assert_eq!((none.namespace(), none.name(), none.uid()), ("", "", ""));
    }
}
