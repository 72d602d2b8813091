//! How many writes the API server has answered, by what its own metrics say.

use std::collections::BTreeMap;

use kube::Client;

/// Writes of Jobs, of our records and of Events, by resource and subresource.
pub(crate) struct Requests(BTreeMap<String, f64>);

impl Requests {
    /// All so far.
    pub(crate) async fn so_far(client: &Client) -> Self {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = client.request_text(request).await.unwrap();
        let mut counts = BTreeMap::new();
        for line in text.lines() {
            let Some((labels, count)) = line
                .strip_prefix("apiserver_request_total{")
                .and_then(|rest| rest.rsplit_once("} "))
            else {
                continue;
            };
            let label = |name: &str| {
                let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
                labels[start..].split('"').next()
            };
            let resource = label("resource").unwrap_or_default();
            let writes = matches!(label("verb"), Some("POST" | "PUT" | "PATCH" | "APPLY"));
            if writes && matches!(resource, "jobs" | "queuedjobs" | "events") {
                *counts.entry(resource.to_owned()).or_default() += count.parse::<f64>().unwrap();
            }
        }
        Self(counts)
    }

    /// Those since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let since = |(resource, count): (&String, &f64)| {
            let earlier = before.0.get(resource).copied().unwrap_or_default();
            (resource.clone(), count - earlier)
        };
        Self(self.0.iter().map(since).collect())
    }

    /// Without the creations by the load and the ends by the runner.
    pub(crate) fn ours(&self, created: usize, ended: usize) -> f64 {
        let theirs = u32::try_from(created + ended).unwrap();
        self.0.values().sum::<f64>() - f64::from(theirs)
    }
}
