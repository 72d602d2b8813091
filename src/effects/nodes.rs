//! Writes about nodes whose GPUs are divided in another way.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::{Writer, fault, merge};
use crate::api::GpuNode;
use crate::api::gpunode::{Demand, Proposal, Repartition};

impl Writer {
    /// Has a node take no new pods, or take them again.
    ///
    /// # Errors
    /// When it has changed since it was read, or cannot be written.
    pub async fn cordon(&self, node: &Node, is_cordoned: bool) -> kube::Result<()> {
        let change = json!({"spec": {"unschedulable": is_cordoned.then_some(true)}});
        self.patch_node(node, change).await
    }

    /// Sets labels of a node.
    ///
    /// # Errors
    /// The same.
    pub async fn label(&self, node: &Node, labels: &BTreeMap<String, String>) -> kube::Result<()> {
        let change = json!({"metadata": {"labels": labels}});
        self.patch_node(node, change).await
    }

    async fn patch_node(&self, node: &Node, mut change: Value) -> kube::Result<()> {
        change["metadata"]["resourceVersion"] = json!(node.metadata.resource_version);
        let api: Api<Node> = Api::all(self.client.clone());
        let change = Patch::Merge(change);
        api.patch(&node.name_any(), &PatchParams::default(), &change)
            .await?;
        fault::after_write();
        Ok(())
    }

    /// Puts on record how far the change of a node is.
    ///
    /// # Errors
    /// When its GpuNode has changed since it was read, or cannot be written.
    pub async fn record_repartition(
        &self,
        node: &GpuNode,
        record: Option<&Repartition>,
    ) -> kube::Result<()> {
        let before = node.status.as_ref();
        let before = before.and_then(|status| status.repartition.as_ref());
        let status = |record: Option<&Repartition>| json!({"repartition": record});
        self.patch_gpu_node(node, (status(before), status(record)))
            .await
    }

    /// Says how the jobs that wait would have a node, and which change of it is proposed.
    ///
    /// # Errors
    /// The same.
    pub async fn want(
        &self,
        node: &GpuNode,
        demand: Option<&Demand>,
        proposal: Option<&Proposal>,
    ) -> kube::Result<()> {
        let before = node.status.as_ref();
        let known = (
            before.and_then(|status| status.demand.as_ref()),
            before.and_then(|status| status.proposal.as_ref()),
        );
        let status = |(demand, proposal): (Option<&Demand>, Option<&Proposal>)| json!({"demand": demand, "proposal": proposal});
        self.patch_gpu_node(node, (status(known), status((demand, proposal))))
            .await
    }

    async fn patch_gpu_node(
        &self,
        node: &GpuNode,
        (before, after): (Value, Value),
    ) -> kube::Result<()> {
        let status = |value: Value| json!({"status": value});
        let mut patch = merge::difference(&status(before), &status(after));
        patch["metadata"] = json!({"resourceVersion": node.metadata.resource_version});
        let api: Api<GpuNode> = Api::all(self.client.clone());
        api.patch_status(
            &node.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
        fault::after_write();
        Ok(())
    }
}
