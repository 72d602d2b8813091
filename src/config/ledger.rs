//! Where the ledger is.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::read_duration;

/// Where it is written down who holds which GPUs. One of `url` and `urlFile` says it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ledger {
    /// `sqlite:///path/to/ledger.db`, or `postgres://user@host/database`.
    #[serde(default)]
    pub url: Option<String>,
    /// A file that says the same, for one with a password in it.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// How often it is written that everything goes on as before: what ends while nobody looks is
    /// estimated no better than that.
    #[serde(default = "default_heartbeat", deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub heartbeat: Duration,
    /// How often the agents are asked how busy GPUs were that somebody held.
    #[serde(default = "default_busy_every", deserialize_with = "read_duration")]
    #[schemars(with = "String")]
    pub busy_every: Duration,
    /// A file with the token by which agents know the controller: of its own account, for the audience
    /// `prorata-agent`. Agents answer nobody else.
    #[serde(default)]
    pub agent_token_file: Option<PathBuf>,
}

const fn default_heartbeat() -> Duration {
    Duration::from_secs(30)
}

const fn default_busy_every() -> Duration {
    Duration::from_secs(300)
}

impl Ledger {
    /// Where it is: the address, or what the file says now.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn address(&self) -> std::io::Result<String> {
        match &self.url_file {
            Some(file) => std::fs::read_to_string(file).map(|text| text.trim().to_owned()),
            None => Ok(self.url.clone().unwrap_or_default()),
        }
    }

    pub(super) fn problem(&self) -> Option<(&'static str, &'static str)> {
        match (&self.url, &self.url_file) {
            (Some(_), Some(_)) => Some((
                "has both a url and a urlFile",
                "write one of the two: urlFile where there is a password in it",
            )),
            (None, None) => Some((
                "does not say where it is",
                "write `url: sqlite:///var/lib/prorata/ledger.db` below it",
            )),
            _ if self.heartbeat < Duration::from_secs(1) => Some((
                "has a heartbeat of less than a second",
                "write `heartbeat: 30s`",
            )),
            _ if self.busy_every < Duration::from_secs(1) => Some((
                "asks the agents more often than every second",
                "write `busyEvery: 5m`",
            )),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{TLS, read};

    #[test]
    fn one_address_is_wanted() {
        let ledger = |text: &str| read(&format!("extender: {{{TLS}}}\nledger: {text}\n"));
        let read = ledger("{url: 'sqlite:///l.db'}").unwrap().ledger.unwrap();
        assert_eq!(read.address().unwrap(), "sqlite:///l.db");
        assert_eq!(read.heartbeat.as_secs(), 30);
        assert!(
            ledger("{}")
                .unwrap_err()
                .contains("does not say where it is")
        );
        let both = ledger("{url: 'sqlite:///l.db', urlFile: /f}").unwrap_err();
        assert!(both.contains("both a url and a urlFile"), "{both}");
        let often = ledger("{urlFile: /f, heartbeat: 10ms}").unwrap_err();
        assert!(often.contains("less than a second"), "{often}");
        let asks = ledger("{urlFile: /f, busyEvery: 10ms}").unwrap_err();
        assert!(asks.contains("more often than every second"), "{asks}");
    }
}
