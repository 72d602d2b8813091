//! What a cluster has of a Tenant.

use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::core::DynamicObject;

use crate::api::labels;
use crate::cli::cluster::Cluster;
use crate::cli::failure::Failure;
use crate::tenancy::{Kind, Store};

/// The Tenant itself, if there is one.
pub(super) async fn tenant(
    cluster: &Cluster,
    name: &str,
) -> Result<Option<DynamicObject>, Failure> {
    let api = objects(cluster, Kind::Tenant);
    let read = api.get_opt(name).await;
    read.map_err(|error| Failure::api(&format!("get tenants.prorata.dev {name}"), error))
}

/// Everything that the controller keeps for a Tenant.
pub(super) async fn of(cluster: &Cluster, team: &str) -> Result<Store, Failure> {
    let selector = format!(
        "{}={},{}={team}",
        labels::MANAGED_BY,
        labels::MANAGER,
        labels::TEAM
    );
    let params = ListParams::default().labels(&selector);
    let mut store = Store::default();
    for kind in Kind::ALL {
        let listed = objects(cluster, kind).list(&params).await;
        let attempt = || format!("list {} in the cluster", kind.resource().plural);
        let listed = listed.map_err(|error| Failure::api(&attempt(), error))?;
        listed
            .into_iter()
            .for_each(|object| store.put(kind, object));
    }
    Ok(store)
}

/// Whether an object is there that the controller does not keep for this Tenant, and so leaves alone.
pub(super) async fn is_foreign(
    cluster: &Cluster,
    team: &str,
    (kind, name): (Kind, &str),
) -> Result<bool, Failure> {
    let read = objects(cluster, kind).get_opt(name).await;
    let attempt = format!("get {} {name}", kind.resource().plural);
    let object = read.map_err(|error| Failure::api(&attempt, error))?;
    let is_kept = |object: &DynamicObject| {
        object.labels().get(labels::TEAM).map(String::as_str) == Some(team)
    };
    Ok(object.is_some_and(|object| !is_kept(&object)))
}

/// All objects of a kind.
pub(super) fn objects(cluster: &Cluster, kind: Kind) -> Api<DynamicObject> {
    Api::all_with(cluster.client().clone(), &kind.resource())
}
