//! What runs: our controller, and kube-scheduler as far as the API server shows it.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;

use super::super::cluster::{Cluster, Scope};
use super::super::words;
use super::finding::{Finding, few};
use crate::api::labels;

/// A Lease that is older than so many of its terms is nobody's.
const TERMS: i64 = 3;

const START: &str =
    "start it: `kubectl get pods -n prorata-system`, and the log of what does not run";

pub(super) async fn look(cluster: &Cluster) -> Vec<Finding> {
    vec![controller(cluster).await, scheduler(cluster).await]
}

async fn controller(cluster: &Cluster) -> Finding {
    let check = "controller";
    let scope = Scope::Namespace(labels::NAMESPACE.to_owned());
    let leases = match cluster.list::<Lease>(&scope, ListParams::default()).await {
        Ok(leases) => leases,
        Err(failure) => return Finding::unknown(check, &failure),
    };
    let named = ListParams::default().labels("app.kubernetes.io/name=prorata");
    let pods = match cluster.list::<Pod>(&scope, named).await {
        Ok(pods) => pods,
        Err(failure) => return Finding::unknown(check, &failure),
    };
    judge_controller(&leases, &pods, Timestamp::now())
}

fn judge_controller(leases: &[Lease], pods: &[Pod], now: Timestamp) -> Finding {
    let check = "controller";
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    let running = format!(
        "{ready} of {} ready",
        words::count(pods.len() as u64, "pod")
    );
    let spec = leases.iter().filter_map(|lease| lease.spec.as_ref());
    let newest = spec.max_by_key(|spec| spec.renew_time.as_ref().map(|time| time.0));
    let Some(lease) = newest else {
        return match (pods.len(), ready) {
            (0, _) => Finding::warn(check, "no pod of it, and no Lease", START),
            (_, 0) => Finding::fail(check, running, START),
            _ => Finding::ok(check, running),
        };
    };
    let renewed = lease
        .renew_time
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let holder = lease.holder_identity.clone().unwrap_or_default();
    let ago = words::between(renewed, now);
    let term = i64::from(lease.lease_duration_seconds.unwrap_or(15)) * TERMS;
    let seen = format!(
        "`{holder}` leads, as it said {} ago; {running}",
        words::span(ago)
    );
    let is_late = i64::try_from(ago.as_secs()).is_ok_and(|ago| ago > term);
    match is_late || holder.is_empty() {
        true => Finding::fail(check, format!("nobody leads: {seen}"), START),
        false => Finding::ok(check, seen),
    }
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.iter();
    let mut conditions = status.flat_map(|status| status.conditions.iter().flatten());
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Whether kube-scheduler is configured to ask us cannot be seen, but what it complains about can.
async fn scheduler(cluster: &Cluster) -> Finding {
    let failed = ListParams::default().fields("reason=FailedScheduling");
    match cluster.list::<Event>(&Scope::All, failed).await {
        Ok(events) => judge_scheduler(&events),
        Err(failure) => Finding::unknown("kube-scheduler", &failure),
    }
}

/// How kube-scheduler tells that an extender cannot be asked.
const UNREACHABLE: [&str; 4] = [
    "/filter\"",
    "connection refused",
    "x509:",
    "deadline exceeded",
];

fn judge_scheduler(events: &[Event]) -> Finding {
    let check = "kube-scheduler";
    let text = |event: &Event| event.message.clone().unwrap_or_default();
    let unreachable = |message: &String| {
        message.contains("/filter") && UNREACHABLE.iter().any(|sign| message.contains(sign))
    };
    if let Some(message) = events.iter().map(text).find(unreachable) {
        return Finding::fail(
            check,
            format!("it cannot ask the extender: {message}"),
            "see that the controller runs, that the URL in kube-scheduler's configuration leads to it, and that \
             the certificates are in date",
        );
    }
    let wrong = |message: &String| message.contains("nodeCacheCapable");
    if let Some(message) = events.iter().map(text).find(wrong) {
        return Finding::fail(
            check,
            message,
            "configure kube-scheduler by what `prorata install scheduler-config` prints",
        );
    }
    let pods: Vec<String> = events
        .iter()
        .filter(|event| text(event).contains("Prorata: "))
        .map(|event| {
            event
                .involved_object
                .name
                .clone()
                .unwrap_or_else(|| event.name_any())
        })
        .collect();
    match pods.is_empty() {
        true => Finding::ok(check, "no complaint about the extender in its events"),
        false => Finding::ok(check, format!("it asks the extender: about {}", few(&pods))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_controller_is_judged_by_its_lease_and_else_by_its_pods() {
        let now = Timestamp::from_second(1_000).unwrap();
        let lease = |second: i64| -> Lease {
            let renewed = Timestamp::from_second(second).unwrap().to_string();
            let renewed = renewed.replace('Z', ".000000Z");
            serde_json::from_value(json!({"spec": {
                "holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": renewed,
            }}))
            .unwrap()
        };
        let pod: Pod = serde_json::from_value(json!({
            "status": {"conditions": [{"type": "Ready", "status": "False"}]},
        }))
        .unwrap();
        let verdict = |leases: &[Lease], pods: &[Pod]| judge_controller(leases, pods, now).verdict;
        assert_eq!(verdict(&[lease(990), lease(10)], &[]), Verdict::Ok);
        assert_eq!(verdict(&[lease(900)], &[]), Verdict::Fail);
        assert_eq!(verdict(&[], &[pod]), Verdict::Fail);
        assert_eq!(verdict(&[], &[]), Verdict::Warn);
    }

    #[test]
    fn kube_scheduler_says_when_it_cannot_ask() {
        let event = |message: &str| -> Event {
            serde_json::from_value(
                json!({"metadata": {}, "involvedObject": {"name": "p"}, "message": message}),
            )
            .unwrap()
        };
        let down = event(
            "running \"filter\": Post \"https://10.0.0.7:8443/filter\": dial tcp: connection refused",
        );
        let full =
            event("0/2 nodes are available: 2 Prorata: the GPUs here are taken or promised.");
        assert_eq!(
            judge_scheduler(&[full.clone(), down]).verdict,
            Verdict::Fail
        );
        let fine = judge_scheduler(&[full]);
        assert_eq!(
            (fine.verdict, fine.seen.as_str()),
            (Verdict::Ok, "it asks the extender: about p")
        );
        assert_eq!(judge_scheduler(&[]).verdict, Verdict::Ok);
    }
}
