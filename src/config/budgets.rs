//! What is told of budgets.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::read_duration;

/// What the budgets of Tenants are held against. Needs a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Budgets {
    /// The price file.
    pub prices: PathBuf,
    /// How often budgets are looked at.
    #[serde(default = "default_every", deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub every: Duration,
    /// An address that is told beside the Tenant's Events, by a POST of JSON.
    #[serde(default)]
    pub webhook: Option<String>,
}

const fn default_every() -> Duration {
    Duration::from_secs(300)
}

impl Budgets {
    pub(super) fn problem(&self, has_ledger: bool) -> Option<(&'static str, &'static str)> {
        let webhook = self.webhook.as_deref();
        if !has_ledger {
            return Some((
                "need a ledger",
                "write `ledger:` with its url, or leave them out",
            ));
        }
        webhook.filter(|url| !url.starts_with("https://")).map(|_| {
            (
                "have a webhook that is not https",
                "write `webhook: https://…`",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{TLS, read};

    #[test]
    fn budgets_need_a_ledger_and_tell_only_over_https() {
        let budgets = |ledger: &str, rest: &str| {
            read(&format!(
                "extender: {{{TLS}}}\n{ledger}budgets: {{prices: p.yaml{rest}}}\n"
            ))
        };
        let ledger = "ledger: {url: 'sqlite:///l.db'}\n";
        assert!(budgets(ledger, "").is_ok());
        assert!(budgets("", "").unwrap_err().contains("need a ledger"));
        let plain = budgets(ledger, ", webhook: 'http://chat.example/'").unwrap_err();
        assert!(plain.contains("not https"), "{plain}");
    }
}
