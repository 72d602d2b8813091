//! Who the tenants are, and what they cost.

use prorata_dashboard::{Frame, Tenant, Tenants, Tone};

use super::board::Board;
use super::picture::Shown;
use crate::api;
use crate::budgets;
use crate::cli::shares::Holding;
use crate::cli::words::gpus;

/// The page.
pub(super) fn page(shown: &Shown<'_>, board: &Board, frame: Frame) -> Tenants {
    let costs = board.costs();
    let tenant = |holding: &Holding| Tenant {
        money: costs.get(&holding.tenant).cloned(),
        ..tenant(holding, shown.whole.tenants.get(&holding.tenant))
    };
    Tenants {
        frame,
        tenants: shown.holdings.iter().map(tenant).collect(),
    }
}

fn tenant(holding: &Holding, told: Option<&api::Tenant>) -> Tenant {
    let spec = told.map(|told| told.spec.clone()).unwrap_or_default();
    let (state, tone) = state(told);
    let environments = spec.environments.iter().map(|part| part.name.as_str());
    Tenant {
        name: holding.tenant.clone(),
        display: spec.display_name.unwrap_or_default(),
        depth: holding.depth.min(4),
        owner: spec.owner.unwrap_or_default(),
        cost_center: spec.cost_center.unwrap_or_default(),
        department: spec.department.unwrap_or_default(),
        environments: environments.collect::<Vec<_>>().join(", "),
        quota: quota(holding),
        held: gpus(holding.held_milli_gpus),
        jobs: format!("{} running, {} waiting", holding.running, holding.waiting),
        state,
        tone,
        money: None,
    }
}

fn quota(holding: &Holding) -> String {
    let owns = match holding.guaranteed_milli_gpus {
        0 => "owns none".to_owned(),
        amount => format!("owns {}", gpus(amount)),
    };
    match holding.limit_milli_gpus {
        Some(limit) => format!("{owns}, at most {}", gpus(limit)),
        None => owns,
    }
}

/// What the controller says of it: the first of its conditions that does not hold, or that its budget
/// is spent.
fn state(told: Option<&api::Tenant>) -> (String, Tone) {
    let Some(told) = told else {
        return ("no such Tenant".to_owned(), Tone::Bad);
    };
    match (budgets::wrong(told), &told.status) {
        (Some(condition), _) => (condition.reason.clone(), Tone::Bad),
        (None, Some(_)) if budgets::is_spent(told) => ("budget spent".to_owned(), Tone::Bad),
        (None, Some(_)) => ("in order".to_owned(), Tone::Good),
        (None, None) => ("not looked at yet".to_owned(), Tone::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::tests::{only, picture};
    use super::*;
    use crate::pages::picture::Sees;
    use prorata_dashboard::Money;

    #[test]
    fn what_a_tenant_costs_is_shown_to_whoever_sees_the_tenant() {
        let (picture, board) = (picture(), Board::default());
        let money = |spent: &str, per_mille| Money {
            period: "November 2026".to_owned(),
            spent: spent.to_owned(),
            budget: Some("$1,000".to_owned()),
            spent_per_mille: Some(per_mille),
            forecast: None,
        };
        let costs = [("vision", money("$820", 820)), ("speech", money("$77", 77))];
        board.tell_costs(costs.map(|(name, money)| (name.to_owned(), money)).into());
        let all = page(&picture.seen_by(&Sees::All), &board, Frame::default());
        let html = all.html().unwrap();
        assert!(
            html.contains("$820 of $1,000") && html.contains("(82&nbsp;%)"),
            "{html}"
        );
        let shown = picture.seen_by(&only(&[("speech", "speech")]));
        let html = page(&shown, &board, Frame::default()).html().unwrap();
        assert!(html.contains("$77") && !html.contains("$820"), "{html}");
        let first = super::super::overview::page(&shown, &board, Frame::default());
        assert!(
            !first.html().unwrap().contains("budget"),
            "vision's is not its to see"
        );
        let first =
            super::super::overview::page(&picture.seen_by(&Sees::All), &board, Frame::default());
        assert!(
            first
                .html()
                .unwrap()
                .contains("vision has spent 82 % of its budget")
        );
    }

    #[test]
    fn a_budget_is_told_of_while_it_is_spent_and_not_afterwards() {
        let told = |status: &str, reason: &str| {
            let condition = serde_json::json!({
                "type": budgets::SPENT, "status": status, "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let tenant = serde_json::json!({
                "apiVersion": "prorata.dev/v1alpha1", "kind": "Tenant", "metadata": {"name": "red"},
                "spec": {}, "status": {"conditions": [condition]},
            });
            state(Some(&serde_json::from_value(tenant).unwrap()))
        };
        let spent = ("budget spent".to_owned(), Tone::Bad);
        assert_eq!(told("True", "BlockNew"), spent);
        let within = ("in order".to_owned(), Tone::Good);
        assert_eq!(told("False", "WithinBudget"), within);
    }

    #[test]
    fn without_a_ledger_no_money_is_shown() {
        let picture = picture();
        let shown = picture.seen_by(&Sees::All);
        let page = page(&shown, &Board::default(), Frame::default());
        assert_eq!(page.tenants.len(), 5);
        let vision = page.tenants.iter().find(|t| t.name == "vision").unwrap();
        assert_eq!(
            (vision.quota.as_str(), vision.held.as_str()),
            ("owns 8", "24")
        );
        let html = page.html().unwrap();
        assert!(html.contains("What they cost is not shown"), "{html}");
        assert!(html.contains("&#60;b&#62;vision&#60;/b&#62;"), "{html}");
    }
}
