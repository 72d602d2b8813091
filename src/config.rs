//! The file that configures a process of ours. It says what is set, not what is done with it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use prorata_simulator::problem::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::api::labels;
use crate::duration;
use crate::manifest::{Document, Problems};

mod budgets;
mod dashboard;
mod decision_log;
mod extender;
mod interference;
mod leader_election;
mod ledger;
mod logging;
mod noise;
mod preemption;
mod repartition;
mod tenancy;

pub use budgets::Budgets;
pub use dashboard::{Dashboard, DashboardTls};
pub use decision_log::DecisionLog;
pub use extender::{Extender, Probe, Tls};
pub use interference::Interference;
pub use leader_election::LeaderElection;
pub use ledger::Ledger;
pub use logging::{Format, Level, Logging};
pub use noise::{Action, Noise};
pub use preemption::{MpsClients, Preemption};
pub use repartition::{Mode, Repartition};
pub use tenancy::Tenancy;

/// `apiVersion` of the file.
pub const API_VERSION: &str = "config.prorata.dev/v1alpha1";

/// `kind` of the file.
pub const KIND: &str = "Configuration";

/// The configuration of `prorata controller`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    /// `config.prorata.dev/v1alpha1`.
    pub api_version: String,
    /// `Configuration`.
    pub kind: String,
    /// The resource that pods name to get a GPU.
    #[serde(
        default = "default_gpu_resource",
        deserialize_with = "read_gpu_resource"
    )]
    pub gpu_resource: String,
    /// Where kube-scheduler asks.
    pub extender: Extender,
    /// Where probes ask.
    #[serde(default)]
    pub health: Health,
    /// Which of several controllers decides.
    #[serde(default)]
    pub leader_election: LeaderElection,
    /// Who is next among the tenants.
    #[serde(default)]
    pub order: Order,
    /// The first job that has waited this long for room gets nodes reserved: others may use them
    /// only if they are sure to end in time. As `15m` or `1h30m`.
    #[serde(default = "default_reserve_after", deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub reserve_after: Duration,
    /// Who has to leave for whom.
    #[serde(default)]
    pub preemption: Preemption,
    /// A node that has not been ready for so long is lost: the jobs on it queue again. Below
    /// the five minutes after which Kubernetes itself ends its pods.
    #[serde(default = "default_patience", deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub node_lost_after: Duration,
    /// A started job whose pods are not all made and placed after so long queues again.
    #[serde(default = "default_patience", deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub binding_timeout: Duration,
    /// PriorityClasses that count across tenants, before fairness. A tenant may use one only if
    /// its spec.priorityClasses names it.
    #[serde(default)]
    pub cluster_wide_classes: BTreeSet<String>,
    /// PriorityClasses whose jobs are never evicted. A tenant may use one only if its
    /// spec.priorityClasses names it.
    #[serde(default)]
    pub protected_classes: BTreeSet<String>,
    /// What becomes of Tenants with environments.
    #[serde(default)]
    pub tenancy: Tenancy,
    /// What becomes of pods that disturb others on a shared GPU.
    #[serde(default)]
    pub noise: Noise,
    /// How fast kinds of work run beside each other on a shared GPU.
    #[serde(default)]
    pub interference: Interference,
    /// How nodes come to divide their GPUs in another way.
    #[serde(default)]
    pub repartition: Repartition,
    /// What is logged, and how.
    #[serde(default)]
    pub logging: Logging,
    /// Where the dashboard is; without it, there is none.
    #[serde(default)]
    pub dashboard: Option<Dashboard>,
    /// What the core is told and decides, as a log that `prorata-sim replay` plays again.
    #[serde(default)]
    pub decision_log: Option<DecisionLog>,
    /// Where it is written down who holds which GPUs, from when to when. Off where nothing is said.
    #[serde(default)]
    pub ledger: Option<Ledger>,
    /// What the budgets of Tenants are held against. Off where nothing is said.
    #[serde(default)]
    pub budgets: Option<Budgets>,
}

/// Where probes ask (`/livez`, `/readyz`), and Prometheus (`/metrics`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Health {
    /// Address and port to listen on.
    #[serde(deserialize_with = "read_address")]
    pub address: SocketAddr,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([0, 0, 0, 0], 8080)),
        }
    }
}

/// Who is next among the tenants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Whose weighted dominant share is lowest.
    #[default]
    Drf,
    /// Whoever came first.
    Fifo,
}

impl Configuration {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is no such file, holds more than one document, or a field is wrong.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let mut documents = Document::load(path)?.into_iter();
        let file = path.display().to_string();
        let remedy =
            format!("write one document with `apiVersion: {API_VERSION}` and `kind: {KIND}`");
        match (documents.next(), documents.next()) {
            (Some(document), None) => {
                let config = Self::read(&document)?;
                config.extender.find_files(&document)?;
                if let Some(dashboard) = &config.dashboard {
                    dashboard.find_files(&document)?;
                }
                Ok(config)
            }
            (Some(_), Some(second)) => {
                Err(second.problem("document", "is one too many", remedy).into())
            }
            (None, _) => Err(Problem::new(&file, "document", "is empty", remedy).into()),
        }
    }

    /// Reads one document.
    ///
    /// # Errors
    /// When it is of another kind, or a field is wrong.
    pub fn read(document: &Document) -> Result<Self, Problems> {
        for (field, wanted) in [("apiVersion", API_VERSION), ("kind", KIND)] {
            let found = document.text(field).unwrap_or_default();
            if found != wanted {
                let remedy = format!("write `{field}: {wanted}`");
                return Err(document
                    .problem(field, format!("is `{found}`"), remedy)
                    .into());
            }
        }
        let config: Self = document.read()?;
        let extender = config.extender.problem().map(|found| ("extender", found));
        let election = config.leader_election.problem();
        let ledger = config.ledger.as_ref().and_then(Ledger::problem);
        let has_ledger = config.ledger.is_some();
        let budgets = config.budgets.as_ref();
        let budgets = budgets.and_then(|budgets| budgets.problem(has_ledger));
        let dashboard = config.dashboard.as_ref().and_then(Dashboard::problem);
        let found = extender
            .or_else(|| election.map(|found| ("leaderElection", found)))
            .or_else(|| ledger.map(|found| ("ledger", found)))
            .or_else(|| budgets.map(|found| ("budgets", found)))
            .or_else(|| dashboard.map(|found| ("dashboard", found)));
        match found {
            Some((field, (what, remedy))) => Err(document.problem(field, what, remedy).into()),
            None => Ok(config),
        }
    }
}

fn default_gpu_resource() -> String {
    labels::GPU_RESOURCE.to_owned()
}

const fn default_patience() -> Duration {
    Duration::from_secs(60)
}

const fn default_reserve_after() -> Duration {
    Duration::from_secs(15 * 60)
}

/// Checks the name of an extended resource. It goes into expressions of the admission policies, so
/// nothing else may get through.
///
/// # Errors
/// When it is none.
pub fn gpu_resource(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.len() <= 63
            && part.chars().all(plain)
    };
    match text.split_once('/') {
        Some((domain, name)) if good(domain) && good(name) && domain.contains('.') => {
            Ok(text.to_owned())
        }
        _ => Err(format!(
            "`{text}` is not an extended resource, expected a name such as nvidia.com/gpu"
        )),
    }
}

fn read_gpu_resource<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    gpu_resource(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    duration::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

fn read_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let expected = "an IP address and a port such as 0.0.0.0:8443";
        de::Error::custom(format!("`{text}` is not an address, expected {expected}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: config.prorata.dev/v1alpha1\nkind: Configuration\n";
    pub(super) const TLS: &str = "tls: {certFile: a.crt, keyFile: a.key, clientCaFile: ca.crt}";

    pub(super) fn read(rest: &str) -> Result<Configuration, String> {
        let documents = Document::parse("c.yaml", &format!("{HEAD}{rest}")).unwrap();
        Configuration::read(&documents[0]).map_err(|problems| problems.to_string())
    }

    #[test]
    fn needs_only_the_certificates() {
        let config = read(&format!("extender: {{{TLS}}}")).unwrap();
        assert_eq!(config.gpu_resource, "nvidia.com/gpu");
        assert_eq!(config.extender.address.to_string(), "0.0.0.0:8443");
        assert_eq!(
            (config.order, config.logging.level),
            (Order::Drf, Level::Info)
        );
        assert_eq!(config.reserve_after, Duration::from_secs(900));
    }

    #[test]
    fn noise_is_reported_unless_something_else_is_said() {
        let action = |rest: &str| read(&format!("extender: {{{TLS}}}\n{rest}"));
        assert_eq!(action("").unwrap().noise.action, Action::Report);
        let stops = action("noise: {action: stopSharing}").unwrap();
        assert_eq!(stops.noise.action, Action::StopSharing);
        let moves = action("noise: {action: moveAtRestart, movedFor: 2h}").unwrap();
        assert_eq!(moves.noise.action, Action::MoveAtRestart);
        assert_eq!(moves.noise.moved_for, Duration::from_secs(7200));
        assert!(action("noise: {action: shout}").is_err());
    }

    #[test]
    fn changes_of_nodes_are_proposed_unless_something_else_is_said() {
        let read = |rest: &str| read(&format!("extender: {{{TLS}}}\n{rest}"));
        assert_eq!(read("").unwrap().repartition.mode, Mode::Propose);
        let applied = read("repartition: {mode: apply, modes: [exclusive, mps-4], after: 30s}");
        let applied = applied.unwrap().repartition;
        assert_eq!((applied.mode, applied.modes.len()), (Mode::Apply, 2));
        let wrong = read("repartition: {modes: [mps-400]}").unwrap_err();
        assert!(wrong.contains("`mps-400` is no mode of a node"), "{wrong}");
    }

    #[test]
    fn names_place_field_and_remedy() {
        let wrong = |rest: &str| read(&format!("extender: {{{TLS}}}\n{rest}")).unwrap_err();
        assert_eq!(
            wrong("logging:\n  levle: debug"),
            "error: c.yaml:5:3: logging.levle: there is no such field here\n  help: did you mean `level`?"
        );
        assert_eq!(
            wrong("health: {address: here}"),
            "error: c.yaml:4:19: health.address: `here` is not an address\n  help: write an IP address and a port such as 0.0.0.0:8443"
        );
        assert_eq!(
            wrong("order: lifo"),
            "error: c.yaml:4:8: order: unknown variant `lifo`\n  help: write `drf` or `fifo`"
        );
        assert_eq!(
            wrong("reserveAfter: soon"),
            "error: c.yaml:4:15: reserveAfter: `soon` is not a duration\n  help: write one such as 90s, 15m or 1h30m"
        );
        assert_eq!(
            wrong("gpuResource: \"'||true||'\""),
            "error: c.yaml:4:14: gpuResource: `'||true||'` is not an extended resource\n  help: write a name such as nvidia.com/gpu"
        );
        let missing = read("extender: {}").unwrap_err();
        assert_eq!(
            missing,
            "error: c.yaml:3:11: extender: says nothing of certificates\n  help: add `tls:` below it, \
             or `plainHttp: true` where only kube-scheduler reaches the address"
        );
    }
}
