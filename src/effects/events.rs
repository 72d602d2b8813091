//! Events: what the users of an object are told as it happens.
//!
//! What is said again soon is counted on the Event that said it, as the recorders of Kubernetes do.
//! Only so many are remembered: whoever tells a hundred thousand jobs something forgets the first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use super::{NAME_MAX, Notice};
use crate::api::labels;

/// Events that are remembered.
const REMEMBERED_MAX: usize = 4096;

/// Who tells. Copies share what they remember.
#[derive(Clone)]
pub(super) struct Events {
    client: Client,
    said: Arc<Mutex<Said>>,
}

/// UID of an object, and what was said about it.
type Saying = (String, Notice);

/// What was said last.
#[derive(Default)]
struct Said {
    /// Name of each Event, and how often it has been said.
    events: BTreeMap<Saying, (String, i32)>,
    /// The oldest first.
    order: VecDeque<Saying>,
}

impl Said {
    /// It is said; answers with the Event that said it before, and how often it is said by now.
    fn again(&mut self, saying: &Saying) -> Option<(String, i32)> {
        let (name, count) = self.events.get_mut(saying)?;
        *count = count.saturating_add(1);
        Some((name.clone(), *count))
    }

    fn first(&mut self, saying: Saying, event: String) {
        if self.events.insert(saying.clone(), (event, 1)).is_none() {
            self.order.push_back(saying);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.events.remove(&oldest);
        }
    }
}

impl Events {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            said: Arc::default(),
        }
    }

    /// Tells the users of the object.
    pub(super) async fn tell(&self, about: ObjectReference, notice: Notice) -> kube::Result<()> {
        let namespace = namespace_of(&about);
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let now = MicroTime(Timestamp::now());
        let saying = (about.uid.clone().unwrap_or_default(), notice);
        let before = self.said().again(&saying);
        if let Some((name, count)) = before {
            let series = json!({"series": {"count": count, "lastObservedTime": now}});
            let params = PatchParams::default();
            match api.patch(&name, &params, &Patch::Merge(series)).await {
                // The API server forgets Events after a while.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                answer => return answer.map(drop),
            }
        }
        let event = event(about, &saying.1, now);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.said().first(saying, name);
        Ok(())
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events of what has no namespace are where Kubernetes has its own.
fn namespace_of(about: &ObjectReference) -> String {
    let own = about.namespace.clone();
    own.unwrap_or_else(|| "default".to_owned())
}

fn event(about: ObjectReference, notice: &Notice, now: MicroTime) -> Event {
    let mut event = Event {
        event_time: Some(now.clone()),
        type_: Some("Normal".to_owned()),
        action: Some("Queueing".to_owned()),
        reason: Some(notice.reason.clone()),
        note: Some(notice.message.clone()),
        reporting_controller: Some(labels::CONTROLLER.to_owned()),
        reporting_instance: Some(labels::CONTROLLER.to_owned()),
        ..Event::default()
    };
    let object = about.name.as_deref().unwrap_or(labels::CONTROLLER);
    let object: String = object.chars().take(NAME_MAX).collect();
    let object = object.trim_end_matches(['.', '-']);
    event.metadata.name = Some(format!("{object}.{:x}", now.0.as_nanosecond()));
    event.metadata.namespace = Some(namespace_of(&about));
    event.regarding = Some(about);
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saying(uid: usize, message: &str) -> Saying {
        let notice = Notice {
            reason: "CapacityFull".to_owned(),
            message: message.to_owned(),
        };
        (uid.to_string(), notice)
    }

    #[test]
    fn the_same_words_are_counted_and_others_are_another_event() {
        let mut said = Said::default();
        assert_eq!(said.again(&saying(1, "too little")), None);
        said.first(saying(1, "too little"), "first".to_owned());
        let second = Some(("first".to_owned(), 2));
        assert_eq!(said.again(&saying(1, "too little")), second);
        assert_eq!(said.again(&saying(1, "less still")), None);
        assert_eq!(said.again(&saying(2, "too little")), None);
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut said = Said::default();
        for uid in 0..=REMEMBERED_MAX {
            said.first(saying(uid, ""), uid.to_string());
        }
        assert_eq!(said.events.len(), REMEMBERED_MAX);
        assert_eq!(said.again(&saying(0, "")), None);
        assert!(said.again(&saying(1, "")).is_some());
    }
}
