//! Who the tenants are, and what they cost.

use askama::Template;

use crate::Error;
use crate::frame::{Frame, Here, Tone};

/// Who the tenants are, and what they cost.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    /// What is the same on every page.
    pub frame: Frame,
    /// Each tenant before those below it.
    pub tenants: Vec<Tenant>,
}

/// A tenant.
#[derive(Clone, Debug, Default)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// What people call it.
    pub display: String,
    /// How deep it stands in the tree.
    pub depth: usize,
    /// Who answers for it.
    pub owner: String,
    /// Who pays for it.
    pub cost_center: String,
    /// Where it belongs.
    pub department: String,
    /// Its parts.
    pub environments: String,
    /// GPUs that it owns, and never exceeds.
    pub quota: String,
    /// GPUs that it holds.
    pub held: String,
    /// Its jobs.
    pub jobs: String,
    /// Whether it is as its object says, in words.
    pub state: String,
    /// Whether that is good.
    pub tone: Tone,
    /// What it costs; nothing where nobody keeps a ledger with prices.
    pub money: Option<Money>,
}

/// What a tenant costs. Amounts are as people write them, with their currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// In which time: `November 2026`.
    pub period: String,
    /// What was spent in it so far.
    pub spent: String,
    /// What may be.
    pub budget: Option<String>,
    /// What was spent, in thousandths of the budget.
    pub spent_per_mille: Option<u64>,
    /// What will have been spent at its end, if it goes on like this.
    pub forecast: Option<String>,
}

#[derive(Template)]
#[template(path = "tenants.html")]
struct Page<'a> {
    frame: &'a Frame,
    here: Here,
    title: &'static str,
    model: &'a Tenants,
}

impl Tenants {
    /// The page.
    ///
    /// # Errors
    /// None that a sound model meets.
    pub fn html(&self) -> Result<String, Error> {
        let page = Page {
            frame: &self.frame,
            here: Here::Tenants,
            title: Here::Tenants.title(),
            model: self,
        };
        Ok(page.render()?)
    }

    fn has_money(&self) -> bool {
        self.tenants.iter().any(|tenant| tenant.money.is_some())
    }
}

impl Money {
    /// The budget is told of from 80 %, and is spent at 100 %.
    fn tone(&self) -> Tone {
        match self.spent_per_mille {
            Some(1000..) => Tone::Bad,
            Some(800..) => Tone::Wait,
            Some(_) => Tone::Good,
            None => Tone::Plain,
        }
    }

    fn bar(&self) -> u64 {
        self.spent_per_mille.unwrap_or_default().min(1000)
    }

    fn percent(&self) -> u64 {
        self.spent_per_mille.unwrap_or_default() / 10
    }
}
