//! One object that is wanted.

use k8s_openapi::api::core::v1::{LimitRange, Namespace, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::core::ApiResource;
use serde_json::{Value, json};

use super::plan::Part;
use super::store::Key;
use crate::api::{Tenant, labels};

/// The kinds of objects that are kept for a Tenant, each after those that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The child that an environment is.
    Tenant,
    /// Its namespace.
    Namespace,
    /// Whom its pods may talk to.
    NetworkPolicy,
    /// How much and how many there may be.
    ResourceQuota,
    /// How large its containers and pods are.
    LimitRange,
    /// Who may do what. Last, so that nobody comes before the bounds are there.
    RoleBinding,
}

impl Kind {
    /// All of them, in that order.
    pub const ALL: [Self; 6] = [
        Self::Tenant,
        Self::Namespace,
        Self::NetworkPolicy,
        Self::ResourceQuota,
        Self::LimitRange,
        Self::RoleBinding,
    ];

    /// How the API server calls it.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        match self {
            Self::Tenant => ApiResource::erase::<Tenant>(&()),
            Self::Namespace => ApiResource::erase::<Namespace>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::ResourceQuota => ApiResource::erase::<ResourceQuota>(&()),
            Self::LimitRange => ApiResource::erase::<LimitRange>(&()),
            Self::RoleBinding => ApiResource::erase::<RoleBinding>(&()),
        }
    }

    /// Whether its objects are in namespaces.
    #[must_use]
    pub const fn is_namespaced(self) -> bool {
        !matches!(self, Self::Tenant | Self::Namespace)
    }
}

/// An object that is to be there, with all that is wanted of it and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace, if its kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// The manifest.
    pub body: Value,
}

impl Wanted {
    /// An object of a tenant's part, labelled as such. `rest` is what its manifest has beyond kind
    /// and metadata; metadata in it is added to.
    pub(super) fn new(kind: Kind, team: &str, part: &Part, name: &str, rest: Value) -> Self {
        let resource = kind.resource();
        let mut body = rest;
        body["apiVersion"] = json!(resource.api_version);
        body["kind"] = json!(resource.kind);
        let metadata = &mut body["metadata"];
        metadata["name"] = json!(name);
        for (label, value) in [
            (labels::MANAGED_BY, labels::MANAGER),
            (labels::TEAM, team),
            (labels::ENVIRONMENT, part.name.as_str()),
        ] {
            metadata["labels"][label] = json!(value);
        }
        let namespace = kind.is_namespaced().then(|| part.namespace.clone());
        if let Some(namespace) = &namespace {
            metadata["namespace"] = json!(namespace);
        }
        // What is no longer wanted is only removed by a write, so a write has to be due.
        let fingerprint = fingerprint(&body.to_string());
        body["metadata"]["annotations"][labels::PLAN] = json!(fingerprint);
        Self {
            kind,
            namespace,
            name: name.to_owned(),
            body,
        }
    }

    /// `Kind namespace/name`.
    #[must_use]
    pub fn title(&self) -> String {
        title(self.kind, self.namespace.as_deref(), &self.name)
    }

    /// What tells it from all others.
    pub(super) fn key(&self) -> Key {
        (self.kind, self.namespace.clone(), self.name.clone())
    }

    /// The fingerprint of what is wanted.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        let annotation = &self.body["metadata"]["annotations"][labels::PLAN];
        annotation.as_str().unwrap_or_default()
    }
}

/// `Kind namespace/name`.
pub(crate) fn title(kind: Kind, namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{kind:?} {namespace}/{name}"),
        None => format!("{kind:?} {name}"),
    }
}

/// FNV-1a with 64 bits: it tells one plan from the next, and guards nothing.
fn fingerprint(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}
