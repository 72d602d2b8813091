//! How many writes the API server has answered, by what its own metrics say.

use std::collections::BTreeMap;

use kube::Client;

/// Writes of everything but leases, by what is written: `PATCH jobs/status`.
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
            if let Some(kind) = written(labels) {
                *counts.entry(kind).or_default() += count.parse::<f64>().unwrap();
            }
        }
        Self(counts)
    }

    /// Those since then.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let since = |(kind, count): (&String, &f64)| {
            let earlier = before.0.get(kind).copied().unwrap_or_default();
            (kind.clone(), count - earlier)
        };
        Self(self.0.iter().map(since).collect())
    }

    /// Without so many of a kind, which are somebody else's.
    pub(crate) fn without(mut self, kind: &str, count: usize) -> Self {
        if let Some(all) = self.0.get_mut(kind) {
            *all -= f64::from(u32::try_from(count).unwrap());
        }
        self
    }

    /// How many of each kind, those that are there at all.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&str, f64)> {
        let all = self.0.iter().filter(|(_, count)| **count > 0.0);
        all.map(|(kind, count)| (kind.as_str(), *count))
    }

    /// All.
    pub(crate) fn sum(&self) -> f64 {
        self.0.values().sum()
    }
}

/// What a counter counts, if that is writes.
fn written(labels: &str) -> Option<String> {
    let label = |name: &str| {
        let start = labels.find(&format!("{name}=\""))? + name.len() + 2;
        labels[start..].split('"').next()
    };
    let verb =
        label(",verb").filter(|verb| ["POST", "PUT", "PATCH", "APPLY", "DELETE"].contains(verb))?;
    let resource = label(",resource").filter(|resource| !["", "leases"].contains(resource))?;
    let dry = label("dry_run").is_some_and(|dry| !dry.is_empty());
    let subresource = label(",subresource").filter(|subresource| !subresource.is_empty());
    let subresource = subresource
        .map(|name| format!("/{name}"))
        .unwrap_or_default();
    (!dry).then(|| format!("{verb} {resource}{subresource}"))
}
