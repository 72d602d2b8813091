//! Which of several controllers decides.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::read_duration;
use crate::api::labels;

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

impl LeaderElection {
    /// Whoever leads must have stopped before another may begin, with time for an attempt or two.
    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
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

#[cfg(test)]
mod tests {
    use crate::config::tests::{TLS, read};

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
}
