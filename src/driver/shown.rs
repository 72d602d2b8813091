//! What tenants are shown to hold, brought up to date at a bounded rate.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use prorata_core::{Snapshot, TenantId};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::effects::Writer;
use crate::observed::Observed;
use crate::tenants;
use crate::watch::Change;

/// The least time between two rounds of writes.
const PAUSE: Duration = Duration::from_secs(2);
/// Tenants written in one round.
const ROUND_MAX: usize = 20;
/// To find out what is to be written takes at most one part in so many of the time.
const PARTS: u32 = 20;

/// Which tenants are shown as they are.
pub(super) struct Shown {
    /// Something has happened since all were compared.
    is_outdated: bool,
    /// They are not compared again before.
    next: Instant,
    /// The last tenant of the round before; the next round begins behind it.
    last: Option<TenantId>,
    /// The round that is being written.
    pub(super) writes: JoinSet<Round>,
}

/// What came of a round of writes.
pub(super) struct Round {
    /// The tenants as they are now.
    pub(super) written: Vec<Change>,
    /// Whether all were written.
    pub(super) is_complete: bool,
}

impl Shown {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            is_outdated: true,
            next: now,
            last: None,
            writes: JoinSet::new(),
        }
    }

    /// Something has happened.
    pub(super) const fn outdate(&mut self) {
        self.is_outdated = true;
    }

    /// When the next round begins; `None` while nothing has happened, or one is being written.
    pub(super) fn due(&self) -> Option<Instant> {
        (self.is_outdated && self.writes.is_empty()).then_some(self.next)
    }

    /// Begins to write the statuses that are not as they should be.
    pub(super) fn show(
        &mut self,
        observed: &Observed,
        snapshot: &Snapshot,
        writer: &Writer,
        at: Timestamp,
    ) {
        let began = Instant::now();
        let views = observed.tenants();
        let statuses = tenants::statuses(views, snapshot, at);
        let differs = |id: &&TenantId| views[*id].status != statuses[*id];
        let mut differing: Vec<&TenantId> = statuses.keys().filter(differs).collect();
        let behind = differing.partition_point(|id| Some(*id) <= self.last.as_ref());
        differing.rotate_left(behind);
        self.is_outdated = differing.len() > ROUND_MAX;
        differing.truncate(ROUND_MAX);
        self.last = differing.last().copied().cloned();
        let round = differing.into_iter();
        let round: Vec<_> = round
            .map(|id| {
                let (before, after) = (views[id].status.clone(), statuses[id].clone());
                let due = (before.in_force.as_ref(), after.in_force.as_ref());
                let notice = tenants::notice(&views[id], due.0, due.1);
                let notice = notice.map(|notice| (tenants::reference(&views[id]), notice));
                (id.clone(), views[id].version, (before, after), notice)
            })
            .collect();
        let now = Instant::now();
        self.next = now + PAUSE.max((now - began) * PARTS);
        if !round.is_empty() {
            let writer = writer.clone();
            self.writes.spawn(async move {
                let mut written = Vec::new();
                let all = round.len();
                for (id, version, (before, after), notice) in round {
                    let statuses = (&before, &after);
                    let object = writer.show_tenant(&id, version, statuses).await;
                    // Whoever shows it tells of it, so that it is told once.
                    if let Some((tenant, notice)) = notice.filter(|_| object.is_some()) {
                        writer.tell(tenant, notice).await;
                    }
                    written.extend(object.map(Change::Applied));
                }
                let is_complete = written.len() == all;
                Round {
                    written,
                    is_complete,
                }
            });
        }
    }
}
