//! What Tenants say of budgets and guarantees.

use std::collections::BTreeMap;
use std::path::PathBuf;

use prorata_ledger::account::Team;

use crate::cli::failure::Failure;
use crate::cli::tenant::read_file;
use crate::cost::teams::teams;

/// Where Tenants are described.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct TeamsArgs {
    /// A file with Tenants, for their budgets and guarantees, such as `kubectl get tenants -o yaml` items
    #[arg(long, value_name = "FILE")]
    tenants: Option<PathBuf>,
}

impl TeamsArgs {
    /// What they say, by name; nothing without a file.
    pub(in crate::cli) fn read(&self) -> Result<BTreeMap<String, Team>, Failure> {
        let Some(file) = &self.tenants else {
            return Ok(BTreeMap::new());
        };
        Ok(teams(&read_file(file)?))
    }

    /// Whether a file is named.
    pub(in crate::cli) const fn is_named(&self) -> bool {
        self.tenants.is_some()
    }
}
