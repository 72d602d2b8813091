//! Terminates clients of MPS, by NVIDIA's control program. One that is killed by a signal while it has
//! work on the GPU may take all others there with it; one that is terminated does not.

mod control;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use super::picture::{Picture, Pictures};
use super::reading::Card;
use crate::api::gpunode::{ENDING_MAX, Ended, Ending};
pub use control::{Control, Error};

/// How often what could not be ended is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Where MPS is controlled.
#[derive(Clone, Debug)]
pub struct Mps {
    /// NVIDIA's control program.
    pub program: PathBuf,
    /// The host's directory of MPS, below which each server has a directory `pipe`.
    pub root: PathBuf,
}

/// What has become of the pods whose clients were to be ended, by UID.
pub type Outcomes = BTreeMap<String, Ended>;

/// Ends the clients of the pods that are asked for, as long as anybody asks. What has been done is
/// told, and forgotten when nobody asks for it any more.
pub async fn run(
    mps: Mps,
    deadline: Duration,
    pictures: Pictures,
    mut asked: watch::Receiver<Vec<String>>,
    tell: watch::Sender<Outcomes>,
) {
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let wanted: BTreeSet<String> = asked.borrow_and_update().iter().cloned().collect();
        let mut outcomes = tell.borrow().clone();
        outcomes.retain(|uid, _| wanted.contains(uid));
        for uid in wanted.iter().take(ENDING_MAX) {
            let is_done = |ended: &Ended| ended.how != Ending::Failed;
            if !outcomes.get(uid).is_some_and(is_done)
                && let Some(picture) = pictures.latest()
            {
                let ended = end(&mps, deadline, &picture, uid).await;
                outcomes.insert(uid.clone(), ended);
            }
        }
        tell.send_if_modified(|told| {
            let is_news = *told != outcomes;
            *told = outcomes;
            is_news
        });
        tokio::select! {
            changed = asked.changed() => if changed.is_err() { return },
            _ = again.tick() => {}
        }
    }
}

async fn end(mps: &Mps, deadline: Duration, picture: &Picture, uid: &str) -> Ended {
    let pids = clients(picture, uid);
    let answer = |how, message| Ended {
        uid: uid.to_owned(),
        how,
        message,
    };
    if pids.is_empty() {
        return answer(Ending::NoClients, None);
    }
    let control = Control::new(mps, deadline);
    match control.terminate(&pids).await {
        Ok(0) => answer(Ending::NoClients, None),
        Ok(count) => {
            info!(pod = uid, clients = count, "clients of MPS are terminated");
            answer(Ending::Terminated, None)
        }
        Err(error) => {
            warn!(pod = uid, %error, "clients of MPS cannot be terminated");
            answer(Ending::Failed, Some(error.to_string()))
        }
    }
}

/// Processes of a pod that use a GPU by way of MPS, as the host numbers them.
fn clients(picture: &Picture, uid: &str) -> BTreeSet<u32> {
    let cards = picture.reading.iter().flat_map(|reading| &reading.cards);
    let seen = cards.filter_map(|card| match card {
        Card::Seen(seen) => Some(seen),
        Card::Silent { .. } => None,
    });
    let processes = seen.flat_map(|seen| seen.processes.iter().flatten());
    let pids = processes
        .filter(|process| process.mps)
        .map(|process| process.pid);
    let is_its = |pid: &u32| {
        let holder = picture.holders.get(pid).and_then(Option::as_ref);
        holder.is_some_and(|holder| holder.pod_uid == uid)
    };
    pids.filter(is_its).collect()
}
