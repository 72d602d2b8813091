//! Tenants of a file.

use std::path::Path;

use kube::ResourceExt;
use serde_json::Value;

use crate::api::Tenant;
use crate::cli::failure::Failure;
use crate::manifest::{Document, Problems};
use crate::validate;

/// A Tenant as a file has it.
pub(super) struct Described {
    /// What it says.
    pub(super) tenant: Tenant,
    /// The same as it was written.
    pub(super) manifest: Value,
    /// Where.
    pub(super) document: Document,
}

impl Described {
    /// Its name.
    pub(super) fn name(&self) -> String {
        self.tenant.name_any()
    }
}

/// Every Tenant of a file.
pub(super) fn read(file: &Path) -> Result<Vec<Described>, Failure> {
    validate::files(&[file.to_owned()]).map_err(Failure::problems)?;
    let documents = Document::load(file).map_err(Failure::problems)?;
    documents.into_iter().map(described).collect()
}

fn described(document: Document) -> Result<Described, Failure> {
    let manifest = document.to_json();
    match serde_json::from_value(manifest.clone()) {
        Ok(tenant) => Ok(Described {
            tenant,
            manifest,
            document,
        }),
        Err(error) => {
            let problem = document.problem("kind", error.to_string(), "write `kind: Tenant`");
            Err(Failure::problems(Problems::from(problem)))
        }
    }
}
