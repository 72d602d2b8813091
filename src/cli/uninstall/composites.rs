//! Objects of operators that the queue holds back, and how they are let go.

use std::collections::BTreeSet;

use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::held::{full_name, is_ours, remove_annotation, replace, settled, test_uid};
use crate::api::labels;
use crate::kinds::{COMPOSITES, Composite};
use crate::translate::JobView;
use crate::watch;

/// One of them.
#[derive(Debug)]
pub(super) struct Part {
    kind: &'static Composite,
    object: DynamicObject,
    /// Its user holds it: it stays suspended.
    is_kept: bool,
}

/// Looks through the whole cluster. What no operator has brought is nowhere.
pub(super) async fn find(
    client: &Client,
    waiting: &BTreeSet<String>,
    gpu_resource: &str,
) -> Result<Vec<Part>, Failure> {
    let mut found = Vec::new();
    for kind in &COMPOSITES {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &watch::resource(kind));
        let objects = match api.list(&ListParams::default()).await {
            Ok(objects) => objects.items,
            Err(kube::Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(Failure::api(&format!("list {}", kind.full_name()), error)),
        };
        for object in objects {
            let view = JobView::of_composite(kind, &object, gpu_resource);
            let is_over = view.has_ended || view.is_leaving || !view.is_suspended;
            let is_concerned = match view.is_held {
                true => view.epoch.is_some(),
                false => is_ours(&object, true, waiting),
            };
            if is_concerned && !is_over {
                let is_kept = view.is_held;
                found.push(Part {
                    kind,
                    object,
                    is_kept,
                });
            }
        }
    }
    Ok(found)
}

impl Part {
    /// Takes out what was ours and, unless its user holds it, starts it.
    pub(super) async fn release(&self, client: &Client) -> Result<(), Failure> {
        let namespace = self.object.namespace().unwrap_or_default();
        let resource = watch::resource(self.kind);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let patch = serde_json::from_value(self.patch());
        let patch: Patch<()> = Patch::Json(patch.map_err(|error| Failure::new(error.to_string()))?);
        let name = self.object.name_any();
        let patched = api.patch(&name, &PatchParams::default(), &patch).await;
        let attempt = format!("release {} {}", self.kind.kind, full_name(&self.object));
        let patched = settled(patched, &attempt)?;
        let suspend = |object: DynamicObject| self.kind.policy(&object.data, "suspend") == true;
        if patched.is_some_and(|object| !suspend(object)) {
            let kind = self.kind.kind.to_lowercase();
            eprintln!("released {kind} {}", full_name(&self.object));
        }
        Ok(())
    }

    fn patch(&self) -> Value {
        let suspend = self.kind.suspend_path();
        let mut patch = vec![
            test_uid(self.object.uid()),
            json!({"op": "test", "path": suspend, "value": true}),
        ];
        if self.object.annotations().contains_key(labels::EPOCH) {
            patch.push(remove_annotation(labels::EPOCH));
        }
        if !self.is_kept {
            patch.push(replace(suspend, json!(false)));
        }
        Value::Array(patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_let_go_by_its_own_field_and_what_its_user_holds_is_not() {
        let object = json!({
            "metadata": {"name": "a", "uid": "u", "annotations": {labels::EPOCH: "3"}},
            "spec": {"runPolicy": {"suspend": true}},
        });
        let part = |is_kept| Part {
            kind: Composite::of_owner("kubeflow.org/v1", "TFJob").unwrap(),
            object: serde_json::from_value(object.clone()).unwrap(),
            is_kept,
        };
        let released = part(false).patch();
        assert_eq!(released[1]["path"], "/spec/runPolicy/suspend");
        assert_eq!(
            released[3],
            replace("/spec/runPolicy/suspend", json!(false))
        );
        let kept = part(true).patch();
        assert_eq!(kept[2], remove_annotation(labels::EPOCH));
        assert_eq!(kept.as_array().unwrap().len(), 3);
    }
}
