//! Which nodes a task may run on: labels, required affinity, taints, GPU model, MIG profile.
//!
//! The meaning is that of kube-scheduler's `NodeAffinity` and `TaintToleration` filters.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use crate::device::Mode;
use crate::id::Model;
use crate::node::Node;
use crate::others::Others;
use crate::pool::{self, Home};

/// A label's key or value, or a taint's.
pub type Text = Arc<str>;

/// Labels of a node.
pub type Labels = BTreeMap<Text, Text>;

/// What a task demands of its node. The order means nothing; it makes needs a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Needs {
    /// Labels that the node must carry, each with this value.
    pub selector: Vec<(Text, Text)>,
    /// Required affinity: at least one term must hold. None given, none needed.
    pub affinity: Vec<Term>,
    /// Taints that the task puts up with.
    pub tolerations: Vec<Toleration>,
    /// GPU models that will do; empty where any will.
    pub models: Vec<Model>,
    /// The MIG profile that each of its devices must have; `None` for whole cards and shares.
    pub profile: Option<Text>,
    /// What it asks for that is counted node by node and charged to nobody.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Others::is_empty")
    )]
    pub others: Others,
    /// So many tasks of one gang may be on the same node; `None`: as many as fit.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub per_node: Option<NonZeroU32>,
    /// What kind of work it is, by the names of [`crate::Pairs`]. It keeps it from no node.
    pub work: Option<Text>,
    /// Where the work of its tenant belongs. Whatever a job says here, the core sees to it itself.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Home::is_common")
    )]
    pub home: Home,
}

/// A term of an affinity: all of its requirements must hold. An empty one holds nowhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Term(pub Vec<Requirement>);

/// One requirement on a label. The key `metadata.name` stands for the node's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Requirement {
    /// The label's key.
    pub key: Text,
    /// What must hold of its value.
    pub operator: Operator,
}

/// What must hold of a label's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Operator {
    /// It is one of these.
    In(Vec<Text>),
    /// It is none of these; a missing label is fine.
    NotIn(Vec<Text>),
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
    /// It is a whole number above this one.
    Gt(i64),
    /// It is a whole number below this one.
    Lt(i64),
}

/// What keeps tasks away from a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Taint {
    /// Its key.
    pub key: Text,
    /// Its value; may be empty.
    pub value: Text,
    /// What it does.
    pub effect: Effect,
}

/// What a taint does to tasks that do not tolerate it. `PreferNoSchedule` keeps nobody away, so
/// it is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Effect {
    /// Nothing new starts there.
    NoSchedule,
    /// Nothing new starts there, and what runs is evicted.
    NoExecute,
}

/// A taint that a task puts up with.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Toleration {
    /// The taint's key; `None` tolerates every key.
    pub key: Option<Text>,
    /// The taint's value; `None` tolerates every value.
    pub value: Option<Text>,
    /// The taint's effect; `None` tolerates every effect.
    pub effect: Option<Effect>,
}

impl Needs {
    /// Whether a task with these needs may run on `node`, as far as labels, taints and GPUs go.
    /// Whoever is at home in a pool puts up with the taint that says so.
    #[must_use]
    pub fn allow(&self, node: &Node) -> bool {
        self.likes(node) && self.tolerates(node) && self.suits(node)
    }

    /// The same, as if pools kept nobody away.
    pub(crate) fn homeless(&self) -> Self {
        Self {
            home: Home::Contested,
            ..self.clone()
        }
    }

    /// How many tasks of one gang find what is counted node by node where this is left of it.
    pub(crate) fn times_in(&self, others: &Others) -> u32 {
        let most = self.per_node.map_or(u32::MAX, NonZeroU32::get);
        self.others.times_in(others).min(most)
    }

    fn likes(&self, node: &Node) -> bool {
        let selected = |(key, value): &(Text, Text)| node.labels.get(key) == Some(value);
        self.selector.iter().all(selected)
            && (self.affinity.is_empty() || self.affinity.iter().any(|term| term.holds(node)))
    }

    fn tolerates(&self, node: &Node) -> bool {
        let tolerated = |taint: &Taint| self.tolerations.iter().any(|t| t.covers(taint));
        let is_home = |taint| !self.home.is_common() && pool::is_of_pool(node, taint);
        let mut taints = node.taints.iter();
        taints.all(|taint| tolerated(taint) || is_home(taint))
    }

    /// Whether a node's GPUs are of the model and the profile.
    pub(crate) fn suits(&self, node: &Node) -> bool {
        let model = self.models.is_empty() || self.models.contains(&node.gpus.model);
        let profile = match (&self.profile, &node.gpus.mode) {
            (Some(wanted), Mode::Mig(instances)) => instances.iter().any(|i| i.profile == *wanted),
            (Some(_), _) => false,
            (None, _) => true,
        };
        model && profile
    }
}

impl Term {
    fn holds(&self, node: &Node) -> bool {
        !self.0.is_empty() && self.0.iter().all(|requirement| requirement.holds(node))
    }
}

impl Requirement {
    fn holds(&self, node: &Node) -> bool {
        let label = if &*self.key == "metadata.name" {
            Some(node.id.as_str())
        } else {
            node.labels.get(&self.key).map(|value| &**value)
        };
        let among = |values: &[Text]| label.is_some_and(|l| values.iter().any(|v| **v == *l));
        let number = || label.and_then(|l| l.parse::<i64>().ok());
        match &self.operator {
            Operator::In(values) => among(values),
            Operator::NotIn(values) => !among(values),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::Gt(bound) => number().is_some_and(|n| n > *bound),
            Operator::Lt(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

impl Toleration {
    fn covers(&self, taint: &Taint) -> bool {
        self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self
                .value
                .as_ref()
                .is_none_or(|value| *value == taint.value)
            && self.effect.is_none_or(|effect| effect == taint.effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn node(labels: &[(&str, &str)]) -> Node {
        let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        Node {
            labels: Arc::new(labels.collect()),
            ..Node::new("a")
        }
    }

    fn requires(key: &str, operator: Operator) -> Needs {
        let key = key.into();
        Needs {
            affinity: vec![Term(vec![Requirement { key, operator }])],
            ..Needs::default()
        }
    }

    #[test]
    fn operators_mean_what_they_mean_to_kube_scheduler() {
        let east = node(&[("zone", "east"), ("generation", "7")]);
        let allowed = |key, operator| requires(key, operator).allow(&east);
        assert!(allowed(
            "zone",
            Operator::In(vec!["west".into(), "east".into()])
        ));
        assert!(!allowed("zone", Operator::NotIn(vec!["east".into()])));
        assert!(allowed("rack", Operator::NotIn(vec!["r1".into()])));
        assert!(allowed("zone", Operator::Exists));
        assert!(allowed("rack", Operator::DoesNotExist));
        assert!(allowed("generation", Operator::Gt(6)));
        assert!(!allowed("generation", Operator::Lt(7)));
        assert!(!allowed("zone", Operator::Gt(0)));
        assert!(allowed("metadata.name", Operator::In(vec!["a".into()])));
    }

    #[test]
    fn an_empty_term_holds_nowhere_and_one_of_several_is_enough() {
        let east = node(&[("zone", "east")]);
        let mut needs = requires("zone", Operator::Exists);
        needs.affinity.push(Term(vec![]));
        assert!(needs.allow(&east));
        needs.affinity.remove(0);
        assert!(!needs.allow(&east));
    }

    #[test]
    fn every_taint_must_be_tolerated() {
        let taint = |key: &str| Taint {
            key: key.into(),
            value: "x".into(),
            effect: Effect::NoSchedule,
        };
        let tainted = Node {
            taints: [taint("gpu"), taint("team")].into(),
            ..Node::new("a")
        };
        let tolerate = |key: &str| Toleration {
            key: Some(key.into()),
            ..Toleration::default()
        };
        let mut needs = Needs::default();
        needs.tolerations.push(tolerate("gpu"));
        assert!(!needs.allow(&tainted));
        needs.tolerations.push(tolerate("team"));
        assert!(needs.allow(&tainted));
        needs.tolerations = vec![Toleration::default()];
        assert!(needs.allow(&tainted));
    }
}
