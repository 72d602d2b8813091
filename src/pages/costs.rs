//! What tenants cost this month, from the ledger, looked up now and then.

use std::collections::BTreeMap;
use std::time::Duration;

use prorata_dashboard::Money;
use prorata_ledger::account::Team;
use prorata_ledger::bill::{self, bill};
use prorata_ledger::budget::Standing;
use prorata_ledger::money;
use prorata_ledger::period::Period;
use prorata_ledger::price_file::PriceFile;
use prorata_ledger::record::Extract;
use prorata_ledger::totals::{By, totals};
use tokio::time::sleep;
use tracing::warn;

use super::board::{Board, Costs};
use crate::api::Tenant;
use crate::cost::now_ms;
use crate::cost::source::{Error, Source};
use crate::cost::teams::teams;

/// How soon it is looked again whether the tenants are known by now.
const SOON: Duration = Duration::from_secs(1);

/// Looks it up for ever. What was found last stands for as long as nothing can be found.
pub(super) async fn follow(source: &Source, every: Duration, board: &Board) {
    loop {
        let Some(picture) = board.picture() else {
            sleep(SOON).await;
            continue;
        };
        let tenants: Vec<Tenant> = picture.tenants.values().cloned().collect();
        match look(source, tenants).await {
            Ok(costs) => board.tell_costs(costs),
            Err(error) => warn!(%error, "the dashboard shows no costs, or old ones"),
        }
        sleep(every).await;
    }
}

async fn look(source: &Source, tenants: Vec<Tenant>) -> Result<Costs, Error> {
    let (book, file, extract) = source.read(Period::month_of(now_ms())).await?;
    book.close().await;
    // A month of a large cluster takes longer than others on this thread should wait.
    let work = move || costs(&teams(&tenants), &extract, &file);
    let costs = tokio::task::spawn_blocking(work).await;
    Ok(costs.unwrap_or_else(|_| Ok(Costs::new()))?)
}

/// What each team costs in the month of the extract, and each tenant that is none any more.
fn costs(
    teams: &BTreeMap<String, Team>,
    extract: &Extract,
    file: &PriceFile,
) -> Result<Costs, bill::Error> {
    let bill = bill(extract, file)?;
    let owed = bill.lines.iter().filter(|line| line.tenant().is_some());
    let spent = totals(extract, owed, By::Tenant);
    let mut micros: BTreeMap<&str, i128> = teams.keys().map(|name| (name.as_str(), 0)).collect();
    micros.extend(spent.iter().map(|(name, sum)| (name.as_str(), sum.micros)));
    let money = |(name, micros): (&str, i128)| {
        let team = teams.get(name);
        let budget = team.and_then(|team| team.budget.as_ref());
        // What is in another currency cannot be compared.
        let budget = budget.filter(|(_, currency)| *currency == bill.currency);
        let budget = budget.map(|(micros, _)| *micros);
        (name.to_owned(), told(micros, budget, extract, &bill))
    };
    Ok(micros.into_iter().map(money).collect())
}

fn told(micros: i128, budget: Option<u64>, extract: &Extract, bill: &bill::Bill) -> Money {
    let month = Period {
        from_ms: extract.from_ms,
        until_ms: extract.until_ms,
    };
    let write = |micros: i128| format!("{} {}", money::rounded(micros), bill.currency);
    let standing = Standing::of(
        budget.unwrap_or_default(),
        micros,
        month,
        bill.period.until_ms,
    );
    let part = |budget: u64| (micros.max(0) * 1000).checked_div(budget.into());
    Money {
        period: month.to_string(),
        spent: write(micros),
        budget: budget.map(|micros| write(micros.into())),
        spent_per_mille: budget
            .and_then(part)
            .map(|part| u64::try_from(part).unwrap_or(u64::MAX)),
        forecast: standing.forecast_micros.map(write),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DAY: u64 = 86_400_000;
    const PRICES: &str = "{apiVersion: config.prorata.dev/v1alpha1, kind: Prices, currency: EUR, prices: [{model: a, hourly: 2}]}";

    /// Ten days of January 1970, in which red held one GPU of four.
    fn extract() -> Extract {
        serde_json::from_value(json!({
            "fromMs": 0, "untilMs": 31 * DAY, "keptUntilMs": 10 * DAY, "gaps": [], "names": {},
            "stock": [{"node": "n", "pool": "", "model": "a", "gpuMilli": 4000, "fromMs": 0, "untilMs": null}],
            "holds": [{
                "jobUid": "u", "epoch": 1, "node": "n", "model": "a", "tenant": "red", "environment": "",
                "namespace": "ml-red", "user": "", "costCenter": "", "department": "", "kind": "Job", "job": "train",
                "priorityClass": "", "pool": "", "mode": "exclusive", "gpuMilli": 1000, "fromMs": 0,
                "end": null, "busyMilli": null,
            }],
        }))
        .unwrap()
    }

    fn team(monthly: u64, currency: &str) -> Team {
        Team {
            budget: Some((monthly * 1_000_000, currency.to_owned())),
            guaranteed_milli: None,
        }
    }

    #[test]
    fn each_team_has_what_it_spent_beside_its_budget() {
        let teams = [("red", team(600, "EUR")), ("blue", team(600, "USD"))];
        let teams = teams.map(|(name, team)| (name.to_owned(), team)).into();
        let file = PriceFile::parse("p", PRICES).unwrap();
        let costs = costs(&teams, &extract(), &file).unwrap();
        let red = Money {
            period: "January 1970".to_owned(),
            spent: "480.00 EUR".to_owned(),
            budget: Some("600.00 EUR".to_owned()),
            spent_per_mille: Some(800),
            forecast: Some("1,488.00 EUR".to_owned()),
        };
        assert_eq!(costs["red"], red);
        let blue = &costs["blue"];
        assert_eq!((&*blue.spent, &blue.budget), ("0.00 EUR", &None));
        assert_eq!(costs.len(), 2, "idle time is nobody's");
    }
}
