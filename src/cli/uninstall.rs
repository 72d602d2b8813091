//! `prorata uninstall`: takes everything of ours away, and leaves nothing of a user's suspended or
//! gated behind.
//!
//! The order is what makes that true. While a policy is in force it suspends again what is let
//! go, so policies end first; the controller ends before them, lest it decide about Jobs that
//! nothing holds back any more. Definitions go last, because the records say what was held. It may
//! be run again after a failure, and goes on where it ended.

mod composites;
mod held;
mod resource;

use std::fmt::Debug;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::cluster::{Cluster, ClusterArgs, Scope, plural};
use super::failure::Failure;
use crate::api::labels;
use crate::config::gpu_resource;
use held::Held;

/// Options of `prorata uninstall`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Take the extender out of kube-scheduler's configuration first, or pods that ask for GPUs stay pending.

Examples:
  prorata uninstall                                     # says what it would do
  prorata uninstall --yes
  prorata uninstall --yes --only-release && helm uninstall prorata --namespace prorata-system")]
pub struct Args {
    /// Do it; without this it only says what it would do
    #[arg(long)]
    yes: bool,
    /// Stop the controller, end the policies and release what waits; leave the rest to helm or kubectl
    #[arg(long)]
    only_release: bool,
    /// Jobs that start in part have the queue's gate in their template, which can change only while
    /// none of their pods runs: stop and start them
    #[arg(long)]
    restart: bool,
    /// The resource that pods name to get a GPU [default: what the installed policies say]
    #[arg(long, value_name = "NAME", value_parser = gpu_resource)]
    gpu_resource: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// Uninstalls.
pub(super) async fn execute(args: &Args) -> Result<(), Failure> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let resource = resource::of(&cluster, args.gpu_resource.as_deref()).await?;
    let held = Held::find(&cluster, &resource).await?;
    held.tell();
    if !args.yes {
        return Err(Failure::input(
            "nothing has been done",
            "add --yes to stop the controller, end the policies and release these",
        ));
    }
    if held.needs_restart() && !args.restart {
        return Err(Failure::input(
            "running Jobs have the queue's gate in their template, and would make gated pods for ever",
            "wait until they are done, or add --restart: their pods start again",
        ));
    }
    stop(&cluster).await?;
    end_policies(&cluster).await?;
    held::release(&cluster, &resource).await?;
    if !args.only_release {
        remove_the_rest(&cluster).await?;
    }
    Ok(())
}

/// Ends the controller, and waits until its pods are gone.
async fn stop(cluster: &Cluster) -> Result<(), Failure> {
    let client = cluster.client();
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), labels::NAMESPACE);
    delete(&deployments, labels::CONTROLLER).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), labels::NAMESPACE);
    let selector = "app.kubernetes.io/name=prorata,app.kubernetes.io/component=controller";
    held::until("the controller's pods are gone", || async {
        let left = pods.list(&ListParams::default().labels(selector)).await;
        let left = left.map_err(|error| Failure::api("list pods in prorata-system", error))?;
        Ok(left.items.is_empty())
    })
    .await
}

/// Bindings first: a policy without one does nothing, a binding without policy is an error to some.
async fn end_policies(cluster: &Cluster) -> Result<(), Failure> {
    delete_ours::<MutatingAdmissionPolicyBinding>(cluster).await?;
    delete_ours::<MutatingAdmissionPolicy>(cluster).await?;
    delete_ours::<ValidatingAdmissionPolicyBinding>(cluster).await?;
    delete_ours::<ValidatingAdmissionPolicy>(cluster).await
}

async fn remove_the_rest(cluster: &Cluster) -> Result<(), Failure> {
    delete_ours::<CustomResourceDefinition>(cluster).await?;
    delete_ours::<ClusterRoleBinding>(cluster).await?;
    delete_ours::<ClusterRole>(cluster).await?;
    delete_ours_in::<RoleBinding>(cluster, "kube-system").await?;
    let namespaces = Api::<Namespace>::all(cluster.client().clone());
    let ours = [labels::AGENT_NAMESPACE, labels::NAMESPACE];
    for name in ours {
        delete(&namespaces, name).await?;
    }
    // Until then it could not be installed again.
    held::until("namespaces and definitions are gone", async || {
        for name in ours {
            let namespace = namespaces.get_opt(name).await;
            let namespace = namespace.map_err(|error| Failure::api("get namespaces", error))?;
            if namespace.is_some() {
                return Ok(false);
            }
        }
        let definitions = cluster.list_all::<CustomResourceDefinition>().await?;
        Ok(!definitions.iter().any(is_ours))
    })
    .await
}

/// Deletes every object of a kind that bears our label.
async fn delete_ours<K>(cluster: &Cluster) -> Result<(), Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    K: Resource<Scope = k8s_openapi::ClusterResourceScope>,
{
    let api: Api<K> = Api::all(cluster.client().clone());
    for object in cluster.list_all::<K>().await? {
        if is_ours(&object) {
            delete(&api, &object.name_any()).await?;
        }
    }
    Ok(())
}

async fn delete_ours_in<K>(cluster: &Cluster, namespace: &str) -> Result<(), Failure>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned,
{
    let scope = Scope::Namespace(namespace.to_owned());
    let api: Api<K> = Api::namespaced(cluster.client().clone(), namespace);
    for object in cluster.list::<K>(&scope, ListParams::default()).await? {
        if is_ours(&object) {
            delete(&api, &object.name_any()).await?;
        }
    }
    Ok(())
}

fn is_ours(object: &impl Resource) -> bool {
    let part_of = object.meta().labels.as_ref();
    part_of.is_some_and(|labels| {
        labels.get("app.kubernetes.io/part-of").map(String::as_str) == Some("prorata")
    })
}

/// Deletes an object, and says so; none of that name is as good.
async fn delete<K>(api: &Api<K>, name: &str) -> Result<(), Failure>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let what = format!("{}/{name}", plural::<K>());
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => eprintln!("deleted {what}"),
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => return Err(Failure::api(&format!("delete {what}"), error)),
    }
    Ok(())
}
