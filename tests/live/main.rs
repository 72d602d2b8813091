//! What needs the real control plane, in one program: most of it is waiting, so that as many of
//! these tests run at the same time as there are processors, each with control planes of its own.

#[path = "../admission/mod.rs"]
mod admission;
#[path = "../adoption/mod.rs"]
mod adoption;
#[path = "../agent/bench.rs"]
mod bench;
#[path = "../cli/mod.rs"]
mod cli;
#[path = "../cluster/mod.rs"]
mod cluster;
#[path = "../dashboard/mod.rs"]
mod dashboard;
#[path = "../deploy/mod.rs"]
mod deploy;
#[path = "../equivalence/mod.rs"]
mod equivalence;
#[path = "../failover/mod.rs"]
mod failover;
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "tests of the agent, which use all of it, may panic"
)]
#[path = "../agent/kubelet.rs"]
mod fake_kubelet;
#[path = "../gpus/mod.rs"]
mod gpus;
#[path = "../hostile/mod.rs"]
mod hostile;
#[path = "../kinds/mod.rs"]
mod kinds;
#[path = "../ledger/mod.rs"]
mod ledger;
#[path = "../outage/mod.rs"]
mod outage;
#[path = "../preemption/mod.rs"]
mod preemption;
#[path = "../sharing/mod.rs"]
mod sharing;
#[path = "../tenancy/mod.rs"]
mod tenancy;
