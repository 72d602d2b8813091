//! What is counted and measured, as Prometheus reads it.
//!
//! Labels are tenants, kinds, verbs and reasons: never a job or a pod, and a node only where its GPUs
//! are in trouble. There are at most [`TENANTS_MAX`] tenants; the others together are `other`.

mod budgets;
mod gpus;
mod ledger;
mod picture;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use prorata_core::{Rule, TenantId};

use crate::observed::{DRAIN, TOGETHER};
use crate::view::Views;
use crate::watch::Kind;

/// Tenants that are told apart.
pub const TENANTS_MAX: usize = 1000;
/// The label of all others.
const OTHER: &str = "other";
/// Rules that are told apart.
const RULES: [Rule; 4] = [Rule::Priority, Rule::Reclaim, Rule::FairShare, Rule::Order];

/// The media type of [`Metrics::render`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted. Copies share it.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tenants: Mutex<BTreeSet<String>>,
    gpus: Mutex<gpus::GpuNodes>,
    counted: Counted,
}

#[derive(Clone, Debug)]
struct Counted {
    extender: Family<Verb, Histogram>,
    shed: Counter,
    cycles: Histogram,
    waits: Family<Tenant, Histogram>,
    admitted: Family<Tenant, Counter>,
    evicted: Family<Evicted, Counter>,
    writes: Family<Written, Counter>,
    lists: Family<Watched, Counter>,
    breaks: Family<Watched, Counter>,
    leader: Gauge,
    ledger: ledger::Ledger,
    /// Nothing where nobody probes.
    extender_up: Arc<OnceLock<Gauge>>,
    refused: Family<Refused, Counter>,
    certificates: Family<Listener, Gauge>,
    budgets: budgets::Budgets,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tenant {
    tenant: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Evicted {
    tenant: String,
    rule: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Written {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Watched {
    kind: String,
}

impl Default for Counted {
    fn default() -> Self {
        // 50 µs to 3.3 s, and 1 s to 36 h.
        let answers = || Histogram::new(exponential_buckets(0.000_05, 2.0, 17));
        let waits = || Histogram::new(exponential_buckets(1.0, 2.0, 18));
        Self {
            extender: Family::new_with_constructor(answers),
            shed: Counter::default(),
            cycles: answers(),
            waits: Family::new_with_constructor(waits),
            admitted: Family::default(),
            evicted: Family::default(),
            writes: Family::default(),
            lists: Family::default(),
            breaks: Family::default(),
            leader: Gauge::default(),
            ledger: ledger::Ledger::default(),
            extender_up: Arc::default(),
            refused: Family::default(),
            certificates: Family::default(),
            budgets: budgets::Budgets::default(),
        }
    }
}

impl Metrics {
    /// kube-scheduler was answered.
    pub fn answered(&self, path: &str, code: u16, within: Duration) {
        let verb = match path {
            "/filter" => "filter",
            "/prioritize" => "prioritize",
            "/preempt" => "preempt",
            _ => OTHER,
        };
        let label = Verb { verb, code };
        let measured = self.0.counted.extender.get_or_create(&label);
        measured.observe(within.as_secs_f64());
    }

    /// A question was not taken on.
    pub fn shed(&self) {
        self.0.counted.shed.inc();
    }

    /// The core has decided once.
    pub fn decided(&self, within: Duration) {
        self.0.counted.cycles.observe(within.as_secs_f64());
    }

    /// A job of this tenant was admitted after it had waited for so long.
    pub fn admitted(&self, tenant: &TenantId, waited: Duration) {
        let label = Tenant {
            tenant: self.tenant(tenant),
        };
        self.0.counted.admitted.get_or_create(&label).inc();
        let waits = self.0.counted.waits.get_or_create(&label);
        waits.observe(waited.as_secs_f64());
    }

    /// A job of this tenant was evicted by a rule of preemption.
    pub fn evicted(&self, tenant: &TenantId, rule: &str) {
        let tenant = self.tenant(tenant);
        let mut rules = RULES.map(Rule::name).into_iter().chain([DRAIN, TOGETHER]);
        let rule = rules.find(|name| *name == rule);
        let rule = rule.unwrap_or(OTHER);
        let label = Evicted { tenant, rule };
        self.0.counted.evicted.get_or_create(&label).inc();
    }

    /// What came of the writes about a job: `done`, or why not.
    pub fn written(&self, result: &'static str) {
        self.0
            .counted
            .writes
            .get_or_create(&Written { result })
            .inc();
    }

    /// A kind was listed.
    pub fn listed(&self, kind: Kind) {
        let kind = kind.to_string();
        self.0.counted.lists.get_or_create(&Watched { kind }).inc();
    }

    /// A list or a watch of a kind has failed.
    pub fn broke_off(&self, kind: Kind) {
        let kind = kind.to_string();
        self.0.counted.breaks.get_or_create(&Watched { kind }).inc();
    }

    /// Whether this process decides.
    pub fn leads(&self, leads: bool) {
        self.0.counted.leader.set(i64::from(leads));
    }

    /// Whether the extender answers our own probe.
    pub fn extender_answers(&self, answers: bool) {
        let up = self.0.counted.extender_up.get_or_init(Gauge::default);
        up.set(i64::from(answers));
    }

    /// The extender let a pod through to no node.
    pub fn refused(&self, reason: &'static str) {
        let label = Refused { reason };
        self.0.counted.refused.get_or_create(&label).inc();
    }

    /// Until when the certificate of a listener is good, in seconds since 1970.
    pub fn certificate(&self, listener: &'static str, until: i64) {
        let label = Listener { listener };
        let shown = self.0.counted.certificates.get_or_create(&label);
        shown.set(until);
    }

    /// These GPU nodes are noisy, once for each thing that pods fight for, with the tenant of the pod
    /// that is to blame; of these the agent is silent; and these do not come to divide their GPUs as
    /// they are to. All others are well.
    pub fn gpu_nodes(
        &self,
        noisy: Vec<(String, Option<String>)>,
        silent: BTreeSet<String>,
        stalled: BTreeSet<String>,
    ) {
        let mut nodes = gpus::GpuNodes {
            silent,
            stalled,
            ..gpus::GpuNodes::default()
        };
        for (node, tenant) in noisy {
            let tenant = tenant.map(|tenant| self.tenant(&tenant.as_str().into()));
            let key = (node, tenant.unwrap_or_default());
            *nodes.noisy.entry(key).or_default() += 1;
        }
        *self.0.gpus.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// Everything, with what the newest view shows.
    ///
    /// # Errors
    /// None that a text in memory meets.
    pub fn render(&self, views: &Views) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry())?;
        encode_registry(&mut text, &picture::registry(self, views))?;
        encode_eof(&mut text)?;
        Ok(text)
    }

    /// The label of a tenant.
    fn tenant(&self, tenant: &TenantId) -> String {
        let mut known = self
            .0
            .tenants
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if known.contains(tenant.as_str()) {
            return tenant.to_string();
        }
        if known.len() >= TENANTS_MAX {
            return OTHER.to_owned();
        }
        known.insert(tenant.to_string());
        tenant.to_string()
    }

    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("prorata");
        let counted = self.0.counted.clone();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", build);
        let (seconds, r) = (Unit::Seconds, &mut registry);
        let (name, help) = ("extender_request_duration", "Answers to kube-scheduler");
        r.register_with_unit(name, help, seconds.clone(), counted.extender);
        let help = "Questions that were not taken on, because there were too many";
        r.register("extender_requests_shed", help, counted.shed);
        let (name, help) = (
            "admission_attempt_duration",
            "Decisions, once for every burst",
        );
        r.register_with_unit(name, help, seconds.clone(), counted.cycles);
        let (name, help) = (
            "admission_wait_time",
            "From a job's creation to its admission",
        );
        r.register_with_unit(name, help, seconds.clone(), counted.waits);
        r.register("admitted_workloads", "Admissions", counted.admitted);
        r.register("evicted_workloads", "Evictions, by rule", counted.evicted);
        let help = "Jobs about which something was written, by what came of it";
        r.register("writes", help, counted.writes);
        r.register("watch_lists", "Lists of a kind", counted.lists);
        let help = "Lists and watches of a kind that failed";
        r.register("watch_failures", help, counted.breaks);
        r.register("leader", "1 where this process decides", counted.leader);
        let help = "1 while the extender answers the controller's own probe";
        if let Some(up) = counted.extender_up.get() {
            r.register("extender_up", help, up.clone());
        }
        let help = "Pods that were let through to no node, by why not";
        r.register("extender_refusals", help, counted.refused);
        let help = "Until when the certificate of a listener is good";
        let name = "certificate_expiry_timestamp";
        r.register_with_unit(name, help, seconds, counted.certificates);
        counted.ledger.register(r);
        let gpus = self.0.gpus.lock().unwrap_or_else(PoisonError::into_inner);
        gpus.register(r);
        counted.budgets.register(r);
        registry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_tenants_are_called_there_are_only_so_many_series() {
        let metrics = Metrics::default();
        for n in 0..TENANTS_MAX + 500 {
            metrics.admitted(&format!("t{n}").as_str().into(), Duration::from_secs(2));
        }
        metrics.admitted(&"t0".into(), Duration::from_secs(3));
        let text = metrics.render(&Views::default()).unwrap();
        let series = text
            .lines()
            .filter(|line| line.starts_with("prorata_admitted_workloads_total{"));
        assert_eq!(series.count(), TENANTS_MAX + 1);
        assert!(text.contains("prorata_admitted_workloads_total{tenant=\"t0\"} 2\n"));
        assert!(text.contains("prorata_admitted_workloads_total{tenant=\"other\"} 500\n"));
    }

    #[test]
    fn evictions_are_counted_by_tenant_and_rule() {
        let metrics = Metrics::default();
        metrics.evicted(&"red".into(), "reclaim");
        metrics.evicted(&"red".into(), "reclaim");
        metrics.evicted(&"red".into(), "no rule of ours");
        let text = metrics.render(&Views::default()).unwrap();
        for (rule, count) in [("reclaim", 2), ("other", 1)] {
            let label = format!("{{tenant=\"red\",rule=\"{rule}\"}} {count}\n");
            let line = format!("prorata_evicted_workloads_total{label}");
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn what_nobody_measures_has_no_line() {
        let metrics = Metrics::default();
        let lines = |metrics: &Metrics| {
            let text = metrics.render(&Views::default()).unwrap();
            let ours = |line: &&str| {
                ["extender_up", "certificate_expiry"]
                    .iter()
                    .any(|name| line.starts_with(&format!("prorata_{name}")))
            };
            text.lines()
                .filter(ours)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert!(lines(&metrics).is_empty(), "{:?}", lines(&metrics));
        metrics.extender_answers(false);
        metrics.certificate("extender", 7);
        let told = lines(&metrics);
        assert!(told.iter().any(|line| line.ends_with(" 0")), "{told:?}");
        let line = "prorata_certificate_expiry_timestamp_seconds{listener=\"extender\"} 7";
        assert!(told.iter().any(|told| told == line), "{told:?}");
    }

    #[test]
    fn nodes_whose_gpus_are_well_have_no_line() {
        let metrics = Metrics::default();
        let red = Some("red".to_owned());
        let noisy = ["a", "a", "b"].map(str::to_owned).into_iter();
        let noisy = noisy.zip([red.clone(), red, None]);
        let only = |node: &str| BTreeSet::from([node.to_owned()]);
        metrics.gpu_nodes(noisy.collect(), only("c"), only("d"));
        let text = metrics.render(&Views::default()).unwrap();
        for line in [
            "prorata_noisy_neighbours{node=\"a\",tenant=\"red\"} 2\n",
            "prorata_noisy_neighbours{node=\"b\",tenant=\"\"} 1\n",
            "prorata_gpu_agent_silent{node=\"c\"} 1\n",
            "prorata_gpu_repartition_stalled{node=\"d\"} 1\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
        metrics.gpu_nodes(Vec::new(), BTreeSet::new(), BTreeSet::new());
        let text = metrics.render(&Views::default()).unwrap();
        assert!(!text.contains("{node="), "{text}");
    }

    #[test]
    fn verbs_that_nobody_knows_are_one() {
        let metrics = Metrics::default();
        metrics.answered("/filter", 200, Duration::from_micros(80));
        metrics.answered("/../etc/passwd", 404, Duration::ZERO);
        metrics.answered("/else", 404, Duration::ZERO);
        let text = metrics.render(&Views::default()).unwrap();
        let name = "prorata_extender_request_duration_seconds";
        for line in [
            "_bucket{le=\"0.0001\",verb=\"filter\",code=\"200\"} 1\n",
            "_count{verb=\"other\",code=\"404\"} 2\n",
        ] {
            assert!(text.contains(&format!("{name}{line}")), "{text}");
        }
        assert!(!text.contains("passwd"));
        assert!(text.ends_with("# EOF\n"));
    }
}
