//! The file that configures a process of ours. It says what is set, not what is done with it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use prorata_core::Resource;
use prorata_simulator::problem::Problem;
use prorata_simulator::quantity;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::api::labels;
use crate::duration;
use crate::manifest::{Document, Problems};

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
    /// PriorityClasses whose jobs are never evicted.
    #[serde(default)]
    pub protected_classes: BTreeSet<String>,
    /// What is logged, and how.
    #[serde(default)]
    pub logging: Logging,
    /// What the core is told and decides, as a log that `prorata-sim replay` plays again.
    #[serde(default)]
    pub decision_log: Option<DecisionLog>,
}

/// A log of decisions. It holds the names and requests of all jobs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionLog {
    /// The file. Older ones have `.1`, `.2` and so on behind its name.
    pub path: PathBuf,
    /// After about so much the next file begins. As `64Mi`.
    #[serde(default = "default_log_size", deserialize_with = "read_bytes")]
    #[schemars(with = "String")]
    pub max_size: u64,
    /// Files that are kept, this one included.
    #[serde(default = "default_log_files")]
    #[schemars(with = "i32", range(min = 1, max = 1000))]
    pub files: u32,
}

/// Who has to leave for whom.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Preemption {
    /// Whether anybody has to.
    pub enabled: bool,
    /// Nobody leaves before having run this long; without it, anybody may at once.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub min_runtime: Duration,
    /// GPU-seconds of work that may be lost within an hour; without it, any.
    pub loss_budget: Option<u64>,
    /// Whether anybody leaves only because its tenant has more than its fair share. Otherwise only
    /// tenants that want back what they are guaranteed, and higher priorities of the same tenant,
    /// have others leave.
    pub fair_share: bool,
    /// Pods of a victim that have not ended after so long are no longer waited for: they keep
    /// their room, and whoever was to get it looks elsewhere.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub victim_timeout: Duration,
}

impl Default for Preemption {
    fn default() -> Self {
        let core = prorata_core::Preemption::default();
        Self {
            enabled: core.enabled,
            min_runtime: core.min_runtime,
            loss_budget: core.loss_budget,
            fair_share: core.fair_share,
            victim_timeout: Duration::from_secs(2 * 60),
        }
    }
}

/// Where kube-scheduler asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Extender {
    /// Address and port to listen on.
    #[serde(
        default = "default_extender_address",
        deserialize_with = "read_address"
    )]
    pub address: SocketAddr,
    /// Both sides show a certificate.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Anybody who reaches the address is answered, and nobody can tell who answers. For a
    /// kube-scheduler on the same machine alone.
    #[serde(default)]
    pub plain_http: bool,
    /// How the controller asks the extender itself, to start no job while that does not answer;
    /// without it, it does not.
    #[serde(default)]
    pub probe: Option<Probe>,
}

/// How the controller asks the extender: as kube-scheduler does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Where kube-scheduler asks, such as `https://prorata.prorata-system.svc:8443`.
    pub url: String,
    /// A certificate that is let in, for `https`; in PEM as the others.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its key.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// Who signed the extender's certificate.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

/// Files in PEM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Our certificate.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
    /// Who signed kube-scheduler's certificate.
    pub client_ca_file: PathBuf,
}

/// Where probes ask: `/livez` and `/readyz`.
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

/// Which of several controllers decides: the one that holds a Lease. Each answers kube-scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct LeaderElection {
    /// Without it there must never be a second controller.
    pub enabled: bool,
    /// Where the Lease is.
    pub namespace: String,
    /// The others wait for so long until they take over a Lease that is not renewed; in whole
    /// seconds.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub lease_duration: Duration,
    /// Whoever leads stops once it could not renew the Lease for so long.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub renew_deadline: Duration,
    /// How often it is renewed, and the others look at it.
    #[serde(deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub retry_period: Duration,
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self {
            enabled: true,
            namespace: labels::NAMESPACE.to_owned(),
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
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

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Logging {
    /// The least important message that is still written.
    pub level: Level,
    /// What a message looks like.
    pub format: Format,
}

/// How important a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is odd.
    Warn,
    /// What an operator wants to have read.
    #[default]
    Info,
    /// What explains a decision.
    Debug,
    /// Everything.
    Trace,
}

/// What a message looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One object per line.
    Json,
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
                config.find_files(&document)?;
                Ok(config)
            }
            (Some(_), Some(second)) => {
                Err(second.problem("document", "is one too many", remedy).into())
            }
            (None, _) => Err(Problem::new(&file, "document", "is empty", remedy).into()),
        }
    }

    /// Files that are named must be there when a role starts; [`read`](Self::read) may run elsewhere.
    fn find_files(&self, document: &Document) -> Result<(), Problems> {
        let Some(Tls {
            cert_file,
            key_file,
            client_ca_file,
        }) = &self.extender.tls
        else {
            return Ok(());
        };
        let files = [
            ("certFile", cert_file),
            ("keyFile", key_file),
            ("clientCaFile", client_ca_file),
        ];
        let unreadable = |(field, path): (&str, &PathBuf)| {
            let error = std::fs::File::open(path).err()?;
            let what = format!("{} cannot be read: {error}", path.display());
            let field = format!("extender.tls.{field}");
            Some(document.problem(
                &field,
                what,
                "name a file in PEM that exists and that we may read",
            ))
        };
        let problems: Vec<Problem> = files.into_iter().filter_map(unreadable).collect();
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Problems(problems))
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
        let found = extender.or_else(|| election.map(|found| ("leaderElection", found)));
        match found {
            Some((field, (what, remedy))) => Err(document.problem(field, what, remedy).into()),
            None => Ok(config),
        }
    }
}

impl Extender {
    /// Nobody gets plain HTTP who has not asked for it in so many words.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        match (&self.tls, self.plain_http) {
            (None, false) => Some((
                "says nothing of certificates",
                "add `tls:` below it, or `plainHttp: true` where only kube-scheduler reaches the address",
            )),
            (Some(_), true) => Some((
                "asks for certificates and for plain HTTP",
                "remove `tls` or `plainHttp`",
            )),
            _ => match &self.probe {
                Some(probe) => probe.problem(self.plain_http),
                None => None,
            },
        }
    }
}

impl Probe {
    fn problem(&self, plain_http: bool) -> Option<(&'static str, &'static str)> {
        let uri: Option<Uri> = self.url.parse().ok();
        let scheme = uri.as_ref().and_then(Uri::scheme_str);
        let files = [&self.cert_file, &self.key_file, &self.ca_file];
        match scheme {
            Some("https") if files.iter().all(|file| file.is_some()) => None,
            Some("https") => Some((
                "has a probe without certificates",
                "add `certFile`, `keyFile` and `caFile` to `probe:`",
            )),
            Some("http") if plain_http => None,
            _ => Some((
                "has a probe that asks nowhere",
                "write the URL that kube-scheduler asks, such as https://prorata.prorata-system.svc:8443",
            )),
        }
    }
}

impl LeaderElection {
    /// Whoever leads must have stopped before another may begin, with time for an attempt or two.
    fn problem(&self) -> Option<(&'static str, &'static str)> {
        let ordered = self.retry_period * 2 <= self.renew_deadline
            && self.renew_deadline < self.lease_duration;
        if self.lease_duration.subsec_nanos() != 0 {
            return Some((
                "has a leaseDuration that is not in whole seconds",
                "write `15s`",
            ));
        }
        (!ordered).then_some((
            "has times that do not go together",
            "write a renewDeadline of at least twice the retryPeriod, and a longer leaseDuration",
        ))
    }
}

fn default_gpu_resource() -> String {
    labels::GPU_RESOURCE.to_owned()
}

fn default_extender_address() -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], 8443))
}

const fn default_patience() -> Duration {
    Duration::from_secs(60)
}

const fn default_reserve_after() -> Duration {
    Duration::from_secs(15 * 60)
}

const fn default_log_size() -> u64 {
    64 << 20
}

const fn default_log_files() -> u32 {
    3
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

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    quantity::parse(Resource::Memory, &text).map_err(de::Error::custom)
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
    const TLS: &str = "tls: {certFile: a.crt, keyFile: a.key, clientCaFile: ca.crt}";

    fn read(rest: &str) -> Result<Configuration, String> {
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

    #[test]
    fn a_probe_asks_as_kube_scheduler_does() {
        let probe = |probe: &str| read(&format!("extender: {{{TLS}, probe: {{{probe}}}}}"));
        let files = "certFile: a, keyFile: b, caFile: c";
        assert!(probe(&format!("url: \"https://x:8443\", {files}")).is_ok());
        let wrong = probe("url: \"https://x:8443\"").unwrap_err();
        assert!(
            wrong.contains("extender: has a probe without certificates"),
            "{wrong}"
        );
        for url in ["http://x:8443", "x", ""] {
            let wrong = probe(&format!("url: \"{url}\", {files}")).unwrap_err();
            assert!(wrong.contains("asks nowhere"), "{wrong}");
        }
    }

    #[test]
    fn whoever_leads_must_have_stopped_before_another_begins() {
        let wrong = |times: &str| {
            read(&format!("extender: {{{TLS}}}\nleaderElection: {{{times}}}")).unwrap_err()
        };
        assert_eq!(
            wrong("leaseDuration: 10s"),
            "error: c.yaml:4:17: leaderElection: has times that do not go together\n  help: write a \
             renewDeadline of at least twice the retryPeriod, and a longer leaseDuration"
        );
        assert!(wrong("retryPeriod: 6s").contains("do not go together"));
        assert!(wrong("leaseDuration: 10500ms").contains("whole seconds"));
    }

    #[test]
    fn plain_http_is_asked_for_in_so_many_words() {
        let config = read("extender: {plainHttp: true}").unwrap();
        assert_eq!(
            (config.extender.tls, config.extender.plain_http),
            (None, true)
        );
        let both = read(&format!("extender: {{plainHttp: true, {TLS}}}")).unwrap_err();
        assert!(
            both.contains("extender: asks for certificates and for plain HTTP"),
            "{both}"
        );
    }
}
