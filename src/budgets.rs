//! What becomes of a tenant whose budget is spent, or soon will be.
//!
//! Its people are told once in a month, by an Event and where an administrator wants it by a request to
//! an address of theirs. Its Tenant then shows the condition [`SPENT`] with its policy, which the queue
//! goes by: so it is still so after a restart. Whatever runs goes on.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};
use prorata_ledger::account::{Books, Team, Who};
use prorata_ledger::bill::{Bill, bill};
use prorata_ledger::budget::{Standing, Threshold};
use prorata_ledger::money;
use prorata_ledger::period::Period;
use prorata_ledger::price_file::PriceFile;
use prorata_ledger::record::Extract;
use prorata_ledger::totals::{By, totals};
use serde_json::json;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::api::{BudgetPolicy, Tenant, labels};
use crate::clock::Clock;
use crate::config::Budgets;
use crate::cost::source::{self, Source};
use crate::effects::fault;
use crate::leader::Tenure;
use crate::metrics::Metrics;

mod standing;
mod webhook;

pub use standing::{SPENT, conditions, is_spent, wrong};

/// Who writes that condition.
const MANAGER: &str = "prorata-budgets";

/// Why budgets are not looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Source(#[from] source::Error),
    #[error("the Tenants: {0}")]
    Tenants(#[from] kube::Error),
}

/// Who looks at budgets while this process decides.
pub struct Treasurer {
    config: Budgets,
    source: Source,
    reads: Client,
    writes: Client,
    events: Recorder,
    metrics: Metrics,
}

/// How the budget of one tenant stands.
#[derive(Clone, Debug)]
pub struct Assessed {
    /// The tenant.
    pub tenant: Tenant,
    /// In which currency.
    pub currency: String,
    /// What becomes of its next jobs once it is spent.
    pub policy: BudgetPolicy,
    /// How it stands.
    pub standing: Standing,
}

impl Treasurer {
    /// One that reads by the one client and writes by the other.
    #[must_use]
    pub fn new(
        config: Budgets,
        source: Source,
        (reads, writes): (Client, Client),
        metrics: Metrics,
    ) -> Self {
        let reporter = Reporter {
            controller: labels::CONTROLLER.to_owned(),
            instance: None,
        };
        Self {
            config,
            source,
            events: Recorder::new(writes.clone(), reporter),
            reads,
            writes,
            metrics,
        }
    }

    /// Looks at all budgets again and again, whenever this process decides.
    pub async fn run(self, mut tenure: Tenure) {
        loop {
            while !tenure.is_held() {
                // Whoever decides tells of them.
                self.metrics.budgets(&[]);
                self.metrics.costs(&[]);
                tenure.change().await;
            }
            if let Err(error) = self.look().await {
                warn!(%error, "budgets are not looked at");
            }
            sleep(self.config.every).await;
        }
    }

    async fn look(&self) -> Result<(), Error> {
        let now_ms = Clock::default().now().as_millis();
        let month = Period::month_of(now_ms);
        let (book, file, extract) = self.source.read(month).await?;
        let tenants: Api<Tenant> = Api::all(self.reads.clone());
        let tenants = tenants.list(&ListParams::default()).await?.items;
        // A month of a large cluster takes longer than others on this thread should wait.
        let work = move || {
            let bill = bill(&extract, &file).map_err(source::Error::from)?;
            let assessed = assess(&tenants, &extract, &file, &bill);
            let spent = spent(&extract, &bill);
            Ok::<_, Error>((tenants, assessed, spent))
        };
        let done = tokio::task::spawn_blocking(work).await;
        let Ok(worked) = done else {
            return Ok(());
        };
        let (tenants, assessed, spent) = worked?;
        self.metrics.budgets(&assessed);
        self.metrics.costs(&spent);
        for (tenant, condition) in conditions(&tenants, &assessed) {
            self.show(&tenant, condition).await?;
        }
        let said = book.told(month.from_ms).await;
        let said = said.map_err(source::Error::from)?;
        for one in &assessed {
            let name = one.tenant.name_any();
            let before = said.get(&name).cloned().unwrap_or_default();
            if let Some(threshold) = one.standing.to_tell(&before) {
                self.tell(one, threshold).await;
                let kept = book.tell(&name, month.from_ms, threshold, now_ms).await;
                kept.map_err(source::Error::from)?;
            }
        }
        book.close().await;
        Ok(())
    }

    async fn show(&self, tenant: &str, condition: Condition) -> kube::Result<()> {
        let api: Api<Tenant> = Api::all(self.writes.clone());
        let status = json!({
            "apiVersion": Tenant::api_version(&()), "kind": Tenant::kind(&()),
            "status": { "conditions": [condition] },
        });
        let params = PatchParams::apply(MANAGER).force();
        let patch = Patch::Apply(status);
        let shown = api.patch_status(tenant, &params, &patch).await;
        shown.map(|_| fault::after_write())
    }

    /// What cannot be told is logged; it is not told again in this month.
    async fn tell(&self, one: &Assessed, threshold: Threshold) {
        let text = sentence(one, threshold);
        let name = one.tenant.name_any();
        info!(tenant = name, text, "budget");
        let event = self.publish(one, threshold, &text).await;
        let unheard = [
            event.err().map(|error| format!("an Event: {error}")),
            self.post(one, threshold, &text).await.err(),
        ];
        for error in unheard.into_iter().flatten() {
            warn!(tenant = name, error, "a budget's news was not heard");
        }
    }

    async fn publish(&self, one: &Assessed, threshold: Threshold, text: &str) -> kube::Result<()> {
        let event = Event {
            type_: EventType::Warning,
            reason: reason(threshold).to_owned(),
            note: Some(text.to_owned()),
            action: "Budgeting".to_owned(),
            secondary: None,
        };
        let regarding = one.tenant.object_ref(&());
        let told = self.events.publish(&event, &regarding).await;
        told.inspect(|()| fault::after_write())
    }

    async fn post(&self, one: &Assessed, threshold: Threshold, text: &str) -> Result<(), String> {
        match &self.config.webhook {
            Some(url) => webhook::post(url, &webhook::body(one, threshold, text)).await,
            None => Ok(()),
        }
    }
}

/// How every budget stands that is in the currency of the prices.
fn assess(tenants: &[Tenant], extract: &Extract, file: &PriceFile, bill: &Bill) -> Vec<Assessed> {
    let with_budget = tenants.iter().filter_map(|tenant| {
        let budget = tenant.spec.budget.as_ref()?;
        let micros = money::parse(budget.monthly.as_str()).ok()?;
        let team = Team {
            budget: Some((micros, budget.currency.clone())),
            guaranteed_milli: None,
        };
        Some((tenant.name_any(), team))
    });
    let teams: BTreeMap<String, Team> = with_budget.collect();
    let books = Books {
        extract,
        bill,
        before: None,
        file,
        teams: &teams,
    };
    let assessed = tenants.iter().filter_map(|tenant| {
        let budget = tenant.spec.budget.as_ref()?;
        let account = books.account(&Who::Tenant(tenant.name_any()));
        Some(Assessed {
            tenant: tenant.clone(),
            currency: budget.currency.clone(),
            policy: budget.policy,
            standing: account.budget?,
        })
    });
    assessed.collect()
}

/// What each tenant has cost so far, in millionths.
fn spent(extract: &Extract, bill: &Bill) -> Vec<(String, i128)> {
    let owed = bill.lines.iter().filter(|line| line.tenant().is_some());
    let all = totals(extract, owed, By::Tenant).into_iter();
    all.map(|(name, sum)| (name, sum.micros)).collect()
}

const fn reason(threshold: Threshold) -> &'static str {
    match threshold {
        // Of one reason only the first would be seen: later ones count as the same again.
        Threshold::Eighty => "BudgetUsed80",
        Threshold::Ninety => "BudgetUsed90",
        Threshold::Spent => "BudgetSpent",
        Threshold::Forecast => "BudgetForecast",
    }
}

/// What people are told.
fn sentence(one: &Assessed, threshold: Threshold) -> String {
    let Assessed {
        currency, standing, ..
    } = one;
    let budget = money::rounded(i128::from(standing.budget_micros));
    let what = match threshold {
        Threshold::Forecast => {
            let comes_to = standing.forecast_micros.unwrap_or_default();
            format!(
                "this month will come to {} {currency}",
                money::rounded(comes_to)
            )
        }
        _ => {
            let spent = money::rounded(standing.spent_micros);
            format!("{spent} {currency} are spent this month")
        }
    };
    let then = match (threshold, one.policy) {
        (Threshold::Spent, BudgetPolicy::BlockNew) => "; new jobs wait until the next",
        (Threshold::Spent, BudgetPolicy::LowerPriority) => {
            "; until the next, jobs beyond its guarantee get what nobody else wants"
        }
        _ => "",
    };
    format!("{what}, and its budget is {budget} {currency}{then}")
}
