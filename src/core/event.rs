//! Facts that the core is told.

use crate::id::{JobId, NodeId, PodId, TaskId, TenantId};
use crate::job::{Job, Placement};
use crate::node::Node;
use crate::resource::Resources;
use crate::tenant::Tenant;

/// A fact about the world. To tell it twice changes nothing, and none can fail: a fact about
/// something unknown is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node exists, like this.
    NodeSeen(Node),
    /// A node no longer exists. Its tasks stay until they are known to have finished.
    NodeGone(NodeId),
    /// A tenant exists, like this.
    TenantChanged(Tenant),
    /// Nobody describes this tenant any more. What it holds, it keeps.
    TenantGone(TenantId),
    /// A job exists, like this. What it asks for may change while it waits; once it is admitted,
    /// only whether its user holds it.
    JobSubmitted(Job),
    /// A job wants nothing any more: deleted, completed or failed. What no task has taken up is
    /// free at once, the rest when its tasks finish.
    JobWithdrawn(JobId),
    /// A record from before a restart says that this job was admitted. Ignored while its user
    /// holds it: whoever lists tells what its tasks still hold first, and the hold last.
    JobAdmitted(JobId, Placement),
    /// A task is on a node, whether or not that was the plan.
    TaskBound(TaskId, NodeId),
    /// A task is gone from its node, and its place is not needed again.
    TaskFinished(TaskId),
    /// A pod that is no task of a job is on a node and takes this much.
    PodBound(PodId, NodeId, Resources),
    /// Such a pod is gone.
    PodGone(PodId),
    /// The last decision about this job could not be carried out. What it took is free again,
    /// and the job waits, unless one of its tasks already runs.
    DecisionFailed(JobId),
}
