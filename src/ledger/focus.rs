//! A bill in the columns of FOCUS 1.3, the FinOps Open Cost and Usage Specification, as CSV.
//!
//! A row is a line of the bill. `ProviderName` and `PublisherName`, which 1.3 deprecates, are kept for
//! tools that read 1.2. Columns that begin with `x_` are ours.

use std::collections::BTreeMap;

use csv::{Terminator, WriterBuilder};
use serde_json::json;

use crate::bill::{Bill, Kind, Line};
use crate::fleet;
use crate::money::exact;
use crate::period::{Period, rfc3339};
use crate::record::{Extract, Hold, Why};
use crate::share::divide;
use crate::totals::exact_gpu_hours;

/// The version, which belongs in the name of the file.
pub const VERSION: &str = "1.3";

/// Who bills whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parties {
    /// The billing account's identifier, such as the cluster's name.
    pub account_id: String,
    /// What people call it.
    pub account_name: String,
    /// Who runs the GPUs and bills for them.
    pub provider: String,
}

/// Why there is no export.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A billing period is a month.
    #[error("{0} is not within a month, and a billing period is one: export it month by month")]
    Months(Period),
    /// It cannot be written.
    #[error("the export cannot be written: {0}")]
    Table(#[from] csv::Error),
}

/// The columns, in their order.
pub const COLUMNS: [&str; 50] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "HostProviderName",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "AllocatedMethodId",
    "AllocatedMethodDetails",
    "AllocatedResourceId",
    "AllocatedResourceName",
    "AllocatedTags",
    "x_EndEstimated",
    "x_GpuModel",
    "x_Node",
    "x_Pool",
    "x_Preempted",
    "x_PriorityClass",
    "x_SharingMode",
    "x_Utilization",
    "x_Gpus",
];

/// A bill as CSV (RFC 4180), with a row of titles.
///
/// # Errors
/// When its period is not within a month.
pub fn export(extract: &Extract, bill: &Bill, parties: &Parties) -> Result<String, Error> {
    let month = Period::month_of(bill.period.from_ms);
    if bill.period.within(month) != bill.period {
        return Err(Error::Months(bill.period));
    }
    let ratios = ratios(bill);
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for (index, line) in bill.lines.iter().enumerate() {
        let row = Row {
            extract,
            bill,
            parties,
            month,
            line,
            ratio: ratios.get(&index).copied(),
        };
        writer.write_record(COLUMNS.map(|column| row.cell(column)))?;
    }
    let bytes = writer
        .into_inner()
        .map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of the bill on its way to be a row.
struct Row<'a> {
    extract: &'a Extract,
    bill: &'a Bill,
    parties: &'a Parties,
    month: Period,
    line: &'a Line,
    /// Which part of a shared service it is, in millionths.
    ratio: Option<i128>,
}

impl Row<'_> {
    fn cell(&self, column: &str) -> String {
        match column {
            "BilledCost" | "ContractedCost" | "EffectiveCost" | "ListCost" => {
                exact(self.line.micros)
            }
            "BillingAccountId" => self.parties.account_id.clone(),
            "BillingAccountName" => self.parties.account_name.clone(),
            "BillingCurrency" => self.bill.currency.clone(),
            "BillingPeriodStart" => rfc3339(self.month.from_ms),
            "BillingPeriodEnd" => rfc3339(self.month.until_ms),
            "HostProviderName"
            | "InvoiceIssuerName"
            | "ProviderName"
            | "PublisherName"
            | "ServiceProviderName" => self.parties.provider.clone(),
            "ServiceCategory" => "Compute".to_owned(),
            "ServiceName" => "GPU".to_owned(),
            "SkuId" => self.sku(),
            "SkuPriceId" => self.price(),
            "SubAccountId" => self.line.tenant().unwrap_or_default().to_owned(),
            "SubAccountName" => self.name(),
            "Tags" => self.tags(),
            column if column.starts_with("Charge") => self.charge(column),
            column if column.starts_with("Allocated") => self.allocated(column),
            column if column.starts_with("x_") => self.extension(column).unwrap_or_default(),
            column => self.quantity(column),
        }
    }

    fn hold(&self) -> Option<&Hold> {
        match self.line.kind {
            Kind::Held(index) => self.extract.holds.get(index),
            _ => None,
        }
    }

    fn charge(&self, column: &str) -> String {
        let period = self
            .hold()
            .map_or(self.bill.period, |hold| fleet::held(hold, self.bill.period));
        match (column, &self.line.kind) {
            ("ChargePeriodStart", _) => rfc3339(period.from_ms),
            ("ChargePeriodEnd", _) => rfc3339(period.until_ms),
            ("ChargeCategory", Kind::Fixed(_)) => "Purchase".to_owned(),
            ("ChargeCategory", Kind::Discount) => "Adjustment".to_owned(),
            ("ChargeCategory", _) => "Usage".to_owned(),
            ("ChargeFrequency", Kind::Fixed(_)) => "Recurring".to_owned(),
            ("ChargeFrequency", _) => "Usage-Based".to_owned(),
            ("ChargeDescription", _) => self.description(),
            // No row corrects one of a month that has been billed.
            _ => String::new(),
        }
    }

    fn description(&self) -> String {
        match (&self.line.kind, self.hold()) {
            (Kind::Service(name), _) if self.line.micros < 0 => {
                format!("Passed on: shared service {name}")
            }
            (Kind::Service(name), _) => format!("Part of shared service {name}"),
            (Kind::Fixed(name), _) => name.clone(),
            (Kind::Discount, _) => format!("Discounts on {}", self.line.model),
            (_, Some(hold)) => format!(
                "{} held by {} {}/{}",
                hold.id.model, hold.kind, hold.payer.namespace, hold.job
            ),
            _ => format!("Idle {}", self.line.model),
        }
    }

    fn quantity(&self, column: &str) -> String {
        let is_time = self.line.gpu_time > 0;
        // What is priced as a whole is priced once, and only what is used is consumed.
        let is_one = match self.line.kind {
            Kind::Discount => false,
            Kind::Fixed(_) => !column.starts_with("Consumed"),
            _ => true,
        };
        match column {
            "PricingQuantity" | "ConsumedQuantity" if is_time => {
                exact_gpu_hours(self.line.gpu_time)
            }
            "PricingUnit" | "ConsumedUnit" if is_time => "GPU-Hours".to_owned(),
            "ContractedUnitPrice" | "ListUnitPrice" if is_time => {
                exact(self.line.hourly_micros.into())
            }
            "ContractedUnitPrice" | "ListUnitPrice" if is_one => exact(self.line.micros.abs()),
            // What is passed on is taken back, and no price is below nothing.
            "PricingQuantity" | "ConsumedQuantity" if is_one && self.line.micros < 0 => {
                exact(-1_000_000)
            }
            "PricingQuantity" | "ConsumedQuantity" if is_one => exact(1_000_000),
            "PricingUnit" | "ConsumedUnit" if is_one => "Units".to_owned(),
            column if column.starts_with("Resource") => self.resource(column),
            _ => String::new(),
        }
    }

    /// What a charge is for: a job, or a service of which it is a part.
    fn resource(&self, column: &str) -> String {
        match (column, &self.line.kind, self.hold()) {
            ("ResourceId", _, Some(hold)) => hold.id.job_uid.clone(),
            ("ResourceName", _, Some(hold)) => format!("{}/{}", hold.payer.namespace, hold.job),
            ("ResourceType", _, Some(hold)) => hold.kind.clone(),
            ("ResourceType", Kind::Service(_), _) => "Shared service".to_owned(),
            (_, Kind::Service(name), _) => name.clone(),
            _ => String::new(),
        }
    }

    /// What is sold: GPUs of a model and pool, a service, or what is due each month.
    fn sku(&self) -> String {
        let line = &self.line;
        match (&line.kind, line.model.as_str(), line.pool.as_str()) {
            (Kind::Service(name), ..) => format!("shared-service/{name}"),
            (Kind::Fixed(name), ..) => format!("fixed/{name}"),
            (_, model, "") => model.to_owned(),
            (_, model, pool) => format!("{model}/{pool}"),
        }
    }

    /// The same at a price: some PriorityClasses have one of their own.
    fn price(&self) -> String {
        let class = self.hold().map(|hold| hold.priority_class.as_str());
        match class.filter(|class| !class.is_empty()) {
            Some(class) => format!("{}/{class}", self.sku()),
            None => self.sku(),
        }
    }

    fn name(&self) -> String {
        let tenant = self.line.tenant().unwrap_or_default();
        self.extract
            .names
            .get(tenant)
            .map_or(tenant, String::as_str)
            .to_owned()
    }

    fn tags(&self) -> String {
        let payer = &self.line.payer;
        let tags: BTreeMap<&str, &str> = [
            ("cost-center", payer.cost_center.as_str()),
            ("department", &payer.department),
            ("environment", &payer.environment),
            ("namespace", &payer.namespace),
            ("tenant", &payer.tenant),
            ("user", &payer.user),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
        json!(tags).to_string()
    }

    /// How a part of a shared service came to be.
    fn allocated(&self, column: &str) -> String {
        let (Kind::Service(name), Some(ratio)) = (&self.line.kind, self.ratio) else {
            return String::new();
        };
        let element = || json!({"Elements": [{"AllocatedRatio": number(ratio), "UsageUnit": self.bill.currency, "UsageQuantity": number(self.line.micros)}]});
        match column {
            "AllocatedMethodId" => format!("shared-service/{name}"),
            "AllocatedMethodDetails" => element().to_string(),
            // To whom it is allocated.
            "AllocatedResourceId" => self.line.tenant().unwrap_or_default().to_owned(),
            "AllocatedResourceName" => self.name(),
            "AllocatedTags" => self.tags(),
            _ => String::new(),
        }
    }

    fn extension(&self, column: &str) -> Option<String> {
        let hold = self.hold();
        Some(match column {
            "x_GpuModel" => self.line.model.clone(),
            "x_Pool" => self.line.pool.clone(),
            "x_Node" => hold?.id.node.clone(),
            "x_PriorityClass" => hold?.priority_class.clone(),
            "x_SharingMode" => hold?.mode.clone(),
            "x_Gpus" => exact((hold?.gpu_milli * 1000).into()),
            "x_Utilization" => exact((hold?.busy_milli? * 1000).into()),
            "x_Preempted" => hold?
                .end
                .is_some_and(|end| end.why == Why::Preempted)
                .to_string(),
            "x_EndEstimated" => hold?.end.is_some_and(|end| end.estimated).to_string(),
            _ => return None,
        })
    }
}

/// Which part of a shared service each of its lines is, in millionths that are 1 together; what is
/// passed on is no part.
fn ratios(bill: &Bill) -> BTreeMap<usize, i128> {
    let mut parts: BTreeMap<&str, Vec<(usize, u128)>> = BTreeMap::new();
    for (index, line) in bill.lines.iter().enumerate() {
        if let Kind::Service(name) = &line.kind
            && line.micros > 0
        {
            parts
                .entry(name)
                .or_default()
                .push((index, line.micros.unsigned_abs()));
        }
    }
    let of_service = |parts: Vec<(usize, u128)>| {
        let weights: Vec<u128> = parts.iter().map(|(_, micros)| *micros).collect();
        let ratios = divide(1_000_000, &weights).unwrap_or_default();
        parts.into_iter().map(|(index, _)| index).zip(ratios)
    };
    parts.into_values().flat_map(of_service).collect()
}

/// Millionths as a number that JSON has.
fn number(micros: i128) -> serde_json::Value {
    serde_json::from_str(&exact(micros)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
