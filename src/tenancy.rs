//! What a Tenant with environments becomes in the cluster: namespaces, children of the tenant,
//! roles, quotas, limits and network policies.
//!
//! What is wanted is a pure function of the Tenant ([`Plan`]); what is missing is the difference to
//! what is there ([`differences`]); only that is written, by server-side apply ([`Keeper`]).

mod check;
mod child;
mod comparison;
mod difference;
mod keeper;
mod limits;
mod members;
mod namespace;
mod network;
mod object;
mod plan;
mod quantity;
mod quota;
pub mod size;
mod store;
#[cfg(test)]
mod tests;
mod told;

pub use comparison::Comparison;
pub use difference::{Difference, differences};
pub use keeper::Keeper;
pub use members::{ADMIN_ROLE, USER_ROLE, VIEWER_ROLE};
pub use namespace::{Template, TemplateError};
pub use object::{Kind, Wanted};
pub use plan::{Left, Part, Plan, Settings, Wrong};
pub use prorata_simulator::split::split;
pub use store::{Key, Store};
pub use told::{config_maps, tell_policies};

use crate::api::TenantSpec;

/// What is wrong with the fields of a Tenant that are about its environments, members, sizes and
/// isolation, whatever the controller's configuration.
#[must_use]
pub fn problems(tenant: &str, spec: &TenantSpec) -> Vec<Wrong> {
    let mut found = check::spec(spec);
    found.extend(check::children(tenant, spec));
    found
}
