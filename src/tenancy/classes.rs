//! Tells the API server which PriorityClasses each tenant may use, for a policy to look up.
//!
//! The policy's parameter is one ConfigMap and not the Tenants themselves: the API server looks into a
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
use crate::leader::Tenure;

/// The field manager of what is told.
const MANAGER: &str = "prorata-classes";
/// The time until what failed is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Names of classes, with commas between them, by tenant. Who names none is not in it.
type Told = BTreeMap<String, String>;

/// Keeps the ConfigMap as the Tenants are, while the tenure lasts. Reads by the one client, writes by
/// the other.
pub async fn tell_classes(reads: &Client, writes: &Client, tenure: &mut Tenure) {
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
                let mut news = Some(event);
                // A burst of them is looked at once.
                while let Some(event) = news {
                    match event {
                        Ok(event) => is_complete |= matches!(event, watcher::Event::InitDone),
                        Err(error) => warn!(%error, "the watch for Tenants broke off"),
                    }
                    news = events.next().now_or_never().flatten();
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
                let name = labels::CLASSES;
                warn!(%error, "ConfigMap {name} says nothing new: if it is missing, apply what `prorata install` prints");
                again = Some(Instant::now() + PAUSE);
            }
        }
    }
}

fn wanted(tenants: &[impl AsRef<Tenant>]) -> Told {
    let classes = |tenant: &Tenant| {
        let classes = tenant.spec.priority_classes.as_ref()?;
        Some((tenant.name_any(), classes.join(",")))
    };
    let all = tenants.iter().map(AsRef::as_ref);
    all.filter_map(classes).collect()
}

/// Nothing is written that is there already.
async fn tell(reads: &Client, writes: &Client, wanted: &Told) -> kube::Result<()> {
    let there: Api<ConfigMap> = Api::namespaced(reads.clone(), labels::NAMESPACE);
    let there = there.get(labels::CLASSES).await?;
    if there.data.unwrap_or_default() == *wanted {
        return Ok(());
    }
    let mut map = config_map();
    map.data = Some(wanted.clone());
    let map = Patch::Apply(map);
    let writes: Api<ConfigMap> = Api::namespaced(writes.clone(), labels::NAMESPACE);
    let params = PatchParams::apply(MANAGER).force();
    writes.patch(labels::CLASSES, &params, &map).await.map(drop)
}

/// The ConfigMap, with nothing in it yet.
#[must_use]
pub fn config_map() -> ConfigMap {
    let mut metadata = labels::metadata(labels::CLASSES);
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

    #[test]
    fn a_tenant_that_names_no_classes_is_not_told_of() {
        let tenant = |name: &str, classes: Option<&[&str]>| {
            let mut tenant = Tenant::new(name, serde_json::from_str("{}").unwrap());
            let names = |classes: &[&str]| classes.iter().map(ToString::to_string).collect();
            tenant.spec.priority_classes = classes.map(names);
            Arc::new(tenant)
        };
        let all = [
            tenant("red", Some(&["low", "high"])),
            tenant("blue", None),
            tenant("green", Some(&[])),
        ];
        let expected = [("green", ""), ("red", "low,high")];
        let expected = expected.map(|(name, classes)| (name.to_owned(), classes.to_owned()));
        assert_eq!(wanted(&all), expected.into());
    }
}
