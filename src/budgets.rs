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
use prorata_ledger::bill::bill;
use prorata_ledger::budget::{Standing, Threshold};
use prorata_ledger::money;
use prorata_ledger::period::Period;
use prorata_ledger::price_file::PriceFile;
use prorata_ledger::store::{self, Book, Purpose};
use serde_json::json;
use tokio::time::sleep;
use tracing::{info, warn};

use crate::api::{BudgetPolicy, Tenant, labels};
use crate::clock::Clock;
use crate::config::{Budgets, Ledger};
use crate::leader::Tenure;
use crate::metrics::Metrics;

mod standing;
mod webhook;

pub use standing::{SPENT, conditions};

/// Who writes that condition.
const MANAGER: &str = "prorata-budgets";

/// Why budgets are not looked at.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("ledger.urlFile: {0}")]
    Address(#[source] std::io::Error),
    #[error("budgets.prices: {0}")]
    Unreadable(#[source] std::io::Error),
    #[error("budgets.prices: {0}")]
    Prices(String),
    #[error(transparent)]
    Ledger(#[from] store::Error),
    #[error("there is no bill: {0}")]
    Bill(#[from] prorata_ledger::bill::Error),
    #[error("the Tenants: {0}")]
    Tenants(#[from] kube::Error),
}

/// Who looks at budgets while this process decides.
pub struct Treasurer {
    config: Budgets,
    ledger: Ledger,
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
        ledger: Ledger,
        (reads, writes): (Client, Client),
        metrics: Metrics,
    ) -> Self {
        let reporter = Reporter {
            controller: labels::CONTROLLER.to_owned(),
            instance: None,
        };
        Self {
            config,
            ledger,
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
                tenure.change().await;
            }
            if let Err(error) = self.look().await {
                warn!(%error, "budgets are not looked at");
            }
            sleep(self.config.every).await;
        }
    }

    async fn look(&self) -> Result<(), Error> {
        let path = self.config.prices.display().to_string();
        let text = std::fs::read_to_string(&self.config.prices).map_err(Error::Unreadable)?;
        let told = |problems: Vec<_>| {
            let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Error::Prices(all.join("; "))
        };
        let file = PriceFile::parse(&path, &text).map_err(told)?;
        let address = self.ledger.address().map_err(Error::Address)?;
        let book = Book::open(&address, Purpose::Read).await?;
        let now_ms = Clock::default().now().as_millis();
        let month = Period::month_of(now_ms);
        let extract = book.extract(month.from_ms, month.until_ms).await?;
        let tenants: Api<Tenant> = Api::all(self.reads.clone());
        let tenants = tenants.list(&ListParams::default()).await?.items;
        // A month of a large cluster takes longer than others on this thread should wait.
        let work = move || {
            let assessed = assess(&tenants, &extract, &file)?;
            Ok::<_, Error>((tenants, assessed))
        };
        let done = tokio::task::spawn_blocking(work).await;
        let Ok(worked) = done else {
            return Ok(());
        };
        let (tenants, assessed) = worked?;
        self.metrics.budgets(&assessed);
        for (tenant, condition) in conditions(&tenants, &assessed) {
            self.show(&tenant, condition).await?;
        }
        let said = book.told(month.from_ms).await?;
        for one in &assessed {
            let name = one.tenant.name_any();
            let before = said.get(&name).cloned().unwrap_or_default();
            if let Some(threshold) = one.standing.to_tell(&before) {
                self.tell(one, threshold).await;
                book.tell(&name, month.from_ms, threshold, now_ms).await?;
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
        shown.map(drop)
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
        self.events
            .publish(&event, &one.tenant.object_ref(&()))
            .await
    }

    async fn post(&self, one: &Assessed, threshold: Threshold, text: &str) -> Result<(), String> {
        match &self.config.webhook {
            Some(url) => webhook::post(url, &webhook::body(one, threshold, text)).await,
            None => Ok(()),
        }
    }
}

/// How every budget stands that is in the currency of the prices.
fn assess(
    tenants: &[Tenant],
    extract: &prorata_ledger::record::Extract,
    file: &PriceFile,
) -> Result<Vec<Assessed>, Error> {
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
    let bill = bill(extract, file)?;
    let books = Books {
        extract,
        bill: &bill,
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
    Ok(assessed.collect())
}

const fn reason(threshold: Threshold) -> &'static str {
    match threshold {
        Threshold::Eighty | Threshold::Ninety => "BudgetUsed",
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
