//! Facts that the core is told.

use alloc::vec::Vec;
use core::time::Duration;

use crate::device::Devices;
use crate::id::{JobId, NodeId, PodId, TaskId, TenantId};
use crate::job::{Job, Placement};
use crate::node::Node;
use crate::others::Others;
use crate::resource::Resources;
use crate::tenant::Tenant;
use crate::time::Time;

/// A fact about the world. To tell it twice changes nothing, and none can fail: a fact about
/// something unknown is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// A node exists, like this.
    NodeSeen(Node),
    /// A node no longer exists. Its tasks stay until they are known to have finished.
    NodeGone(NodeId),
    /// A device of a node works, or must not be used.
    DeviceHealth(NodeId, u32, bool),
    /// These tasks have these devices of a node, wherever they were planned. What cannot be is
    /// ignored.
    DevicesSeen(NodeId, Vec<(TaskId, Devices)>),
    /// A tenant exists, like this.
    TenantChanged(Tenant),
    /// Nobody describes this tenant any more. What it holds, it keeps.
    TenantGone(TenantId),
    /// What a tenant has used in the past, in milli-GPU-milliseconds with their age counted in,
    /// as of this moment.
    TenantUsed(TenantId, u128, Time),
    /// A job exists, like this. What it asks for may change while it waits; once it is admitted,
    /// only whether it is held.
    JobSubmitted(Job),
    /// A job wants nothing any more: deleted, completed or failed. What no task can have taken up is
    /// free at once, the rest when its tasks finish.
    JobWithdrawn(JobId),
    /// A record from before a restart says that this job was admitted at this moment. Ignored
    /// while it is held: whoever lists tells what its tasks still hold first, and the hold last.
    JobAdmitted(JobId, Placement, Time),
    /// A job has run this long in earlier starts.
    JobRan(JobId, Duration),
    /// A job has had to leave for others so often in earlier starts, or more often.
    JobLeft(JobId, u32),
    /// A running job has saved its work: what it did before is not lost when it is evicted.
    JobCheckpointed(JobId, Time),
    /// A record from before a restart says that this job is being evicted. It waits again once
    /// its tasks are gone.
    JobEvicted(JobId),
    /// A record from before a restart says that this room is promised to a waiting job, once
    /// those that were evicted for it are gone.
    JobNominated(JobId, Placement),
    /// An admitted job is being let go: its tasks may be on their nodes before anybody says so. From
    /// now on each place is theirs until its task is known to have finished.
    JobReleased(JobId),
    /// A task is on a node, whether or not that was the plan.
    TaskBound(TaskId, NodeId),
    /// A task is gone from its node, and its place is not needed again.
    TaskFinished(TaskId),
    /// A pod that is no task of a job is on a node and takes this much.
    PodBound(PodId, NodeId, Resources, Others),
    /// Such a pod was to leave long ago: until it is gone, what it takes is charged to this tenant.
    PodCharged(PodId, TenantId),
    /// Such a pod is gone.
    PodGone(PodId),
    /// The last decision about this job could not be carried out: it was not released. What it took
    /// is free again, and the job waits, unless one of its tasks already runs.
    DecisionFailed(JobId),
}
