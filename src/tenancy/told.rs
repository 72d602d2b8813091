//! Tells the API server which PriorityClasses each tenant may use, and which node pools are somebody's,
//! for policies to look up.
//!
//! The parameter of such a policy is one ConfigMap and not the Tenants themselves: the API server looks into a
//! kind of its own as it is, but encodes and decodes an object of ours anew for each policy and
//! request, and every Tenant would be a parameter of each pod that is created.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, reflector, watcher};
use kube::{Client, ResourceExt};
use tokio::time::Instant;
use tracing::warn;

use crate::api::{Tenant, labels};
use crate::effects::fault;
use crate::leader::Tenure;

/// The field manager of what is told.
const MANAGER: &str = "prorata-policies";
/// The time until what failed is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// What one ConfigMap says.
type Data = BTreeMap<String, String>;

/// Names of the ConfigMaps, with what each is to say: the classes of each tenant that names some, with
/// commas between them; and the tenant of each pool.
type Told = [(&'static str, Data); 2];

/// Keeps the ConfigMaps as the Tenants are, while the tenure lasts. Reads by the one client, writes by
/// the other.
pub async fn tell_policies(reads: &Client, writes: &Client, tenure: &mut Tenure) {
    let (tenants, writer) = reflector::store();
    let all: Api<Tenant> = Api::all(reads.clone());
    let events = watcher(all, watcher::Config::default()).default_backoff();
    let mut events = events.reflect(writer).boxed();
    let mut is_complete = false;
    let mut told = None;
    let mut again: Option<Instant> = None;
    while tenure.is_held() {
        tokio::select! {
            Some(event) = events.next() => {
                is_complete |= ends_list(&event);
                // A burst of them is looked at once.
                while let Some(Some(event)) = events.next().now_or_never() {
                    is_complete |= ends_list(&event);
                }
            }
            () = super::keeper::sleep_until(again) => again = None,
            () = tenure.change() => {}
        }
        let wanted = wanted(&tenants.state());
        if !is_complete || again.is_some() || told.as_ref() == Some(&wanted) || !tenure.is_held() {
            continue;
        }
        match tell(reads, writes, &wanted).await {
            Ok(()) => told = Some(wanted),
            Err(error) => {
                complain(&error);
                again = Some(Instant::now() + PAUSE);
            }
        }
    }
}

fn complain(error: &kube::Error) {
    warn!(
        %error,
        "ConfigMaps {} and {} may be out of date: if one is missing, apply what `prorata install` prints",
        labels::CLASSES,
        labels::POOLS
    );
}

/// Whether all Tenants are known from here on.
fn ends_list(event: &watcher::Result<watcher::Event<Tenant>>) -> bool {
    if let Err(error) = event {
        warn!(%error, "the watch for Tenants broke off");
    }
    matches!(event, Ok(watcher::Event::InitDone))
}

fn wanted(tenants: &[impl AsRef<Tenant>]) -> Told {
    let (mut classes, mut pools) = (Data::new(), Data::new());
    for tenant in tenants.iter().map(AsRef::as_ref) {
        if let Some(theirs) = &tenant.spec.priority_classes {
            classes.insert(tenant.name_any(), theirs.join(","));
        }
        let rules = tenant.spec.compliance.as_ref();
        if let Some(pool) = rules.and_then(|rules| rules.node_pool.clone()) {
            // An environment may name the pool of its Tenant.
            let first = pools.entry(pool).or_insert_with(|| tenant.name_any());
            *first = tenant.name_any().min(std::mem::take(first));
        }
    }
    [(labels::CLASSES, classes), (labels::POOLS, pools)]
}

/// Nothing is written that is there already.
async fn tell(reads: &Client, writes: &Client, wanted: &Told) -> kube::Result<()> {
    let there: Api<ConfigMap> = Api::namespaced(reads.clone(), labels::NAMESPACE);
    let written: Api<ConfigMap> = Api::namespaced(writes.clone(), labels::NAMESPACE);
    for (name, data) in wanted {
        if there.get(name).await?.data.unwrap_or_default() == *data {
            continue;
        }
        let mut map = config_map(name);
        map.data = Some(data.clone());
        let params = PatchParams::apply(MANAGER).force();
        written.patch(name, &params, &Patch::Apply(map)).await?;
        fault::after_write();
    }
    Ok(())
}

/// The ConfigMaps, with nothing in them yet.
#[must_use]
pub fn config_maps() -> [ConfigMap; 2] {
    [labels::CLASSES, labels::POOLS].map(config_map)
}

fn config_map(name: &str) -> ConfigMap {
    let mut metadata = labels::metadata(name);
    metadata.namespace = Some(labels::NAMESPACE.to_owned());
    ConfigMap {
        metadata,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn tenant(name: &str, spec: &str) -> Arc<Tenant> {
        Arc::new(Tenant::new(name, serde_json::from_str(spec).unwrap()))
    }

    fn data<const N: usize>(of: [(&str, &str); N]) -> Data {
        of.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn who_names_no_classes_and_no_pool_is_not_told_of() {
        let pool = r#"{"compliance": {"class": "hipaa", "nodePool": "ward"}}"#;
        let all = [
            tenant("red", r#"{"priorityClasses": ["low", "high"]}"#),
            tenant("blue", "{}"),
            tenant("green", r#"{"priorityClasses": []}"#),
            tenant("lab", pool),
        ];
        let [(_, classes), (_, pools)] = wanted(&all);
        assert_eq!(classes, data([("green", ""), ("red", "low,high")]));
        assert_eq!(pools, data([("ward", "lab")]));
    }
}
