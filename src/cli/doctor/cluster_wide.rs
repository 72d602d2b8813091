//! The API server itself: its version, and its clock.

use std::time::Duration;

use k8s_openapi::jiff::{Timestamp, fmt::rfc2822};
use kube::client::Body;

use super::super::cluster::Cluster;
use super::super::failure::Failure;
use super::super::words;
use super::finding::Finding;

/// The oldest minor version of Kubernetes 1 whose API has what we install.
const OLDEST: u32 = 36;

/// A clock that is off by less disturbs nothing. The server tells whole seconds.
const SKEW: Duration = Duration::from_secs(3);

pub(super) async fn look(cluster: &Cluster) -> Result<Vec<Finding>, Failure> {
    let version = cluster.client().apiserver_version().await;
    let version =
        version.map_err(|error| Failure::api("ask the API server for its version", error))?;
    Ok(vec![
        judge_version(&version.git_version, &version.minor),
        clock(cluster).await,
    ])
}

fn judge_version(version: &str, minor: &str) -> Finding {
    // Some providers write `36+`.
    let digits: String = minor.chars().take_while(char::is_ascii_digit).collect();
    let new_enough = digits.parse::<u32>().is_ok_and(|minor| minor >= OLDEST);
    let remedy = format!(
        "upgrade Kubernetes to 1.{OLDEST} or newer: older ones have no MutatingAdmissionPolicy"
    );
    match new_enough {
        true => Finding::ok("api-server", version),
        false => Finding::fail("api-server", format!("{version} is too old"), remedy),
    }
}

/// The controller and kube-scheduler never compare clocks, but conditions and ages are read by people.
async fn clock(cluster: &Cluster) -> Finding {
    let request = http::Request::get("/version").body(Body::empty());
    let before = Timestamp::now();
    let response = match request {
        Ok(request) => cluster.client().send(request).await,
        Err(error) => Err(kube::Error::HttpError(error)),
    };
    let response = match response {
        Ok(response) => response,
        Err(error) => return Finding::unknown("clock", &Failure::api("read the clock", error)),
    };
    let date = response.headers().get(http::header::DATE);
    let date = date.and_then(|date| rfc2822::parse(date.to_str().ok()?).ok());
    match date {
        Some(date) => judge_clock(date.timestamp(), before),
        None => Finding::unknown(
            "clock",
            &Failure::new("the API server does not tell its time"),
        ),
    }
}

fn judge_clock(theirs: Timestamp, ours: Timestamp) -> Finding {
    let off = words::between(theirs, ours).max(words::between(ours, theirs));
    let seen = format!("{} apart from the API server's", words::span(off));
    match off > SKEW {
        true => Finding::warn(
            "clock",
            seen,
            "set this machine's clock, or the control plane's, by NTP",
        ),
        false => Finding::ok("clock", seen),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn old_versions_and_wrong_clocks_are_found() {
        let verdict = |minor| judge_version("v", minor).verdict;
        assert_eq!(
            [verdict("35"), verdict("36+"), verdict("")],
            [Verdict::Fail, Verdict::Ok, Verdict::Fail]
        );
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(judge_clock(at(100), at(98)).verdict, Verdict::Ok);
        let late = judge_clock(at(100), at(200));
        assert_eq!(
            (late.verdict, late.seen.as_str()),
            (Verdict::Warn, "1m40s apart from the API server's")
        );
    }
}
