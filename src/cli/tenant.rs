//! `tenant`: what administrators do with Tenants that have environments.

mod adopt;
mod apply;
mod delete;
mod export;
mod file;
mod kept;
mod plan;
mod review;
mod size;

use std::path::Path;
use std::process::ExitCode;

use super::failure::Failure;
use crate::api::Tenant;
use crate::config::gpu_resource;
use crate::tenancy::{Settings, Template, TemplateError};

/// What to do with Tenants.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print what a file with Tenants would create, change and remove.
    Plan(plan::Args),
    /// Work out what a team should be guaranteed, and show the arithmetic.
    Size(size::Args),
    /// List the tenants whose guarantee no longer fits what they use.
    Review(review::Args),
    /// Apply the Tenants of a file, and wait until the controller has made all that they want.
    Apply(apply::Args),
    /// Delete a Tenant; its namespaces and data stay unless told otherwise.
    Delete(delete::Args),
    /// Print a Tenant as a file that can be applied again.
    Export(export::Args),
    /// Hand a namespace that exists over to a Tenant, as one of its environments.
    Adopt(adopt::Args),
}

/// Does it.
pub(super) async fn execute(command: &Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Plan(args) => return plan::execute(args).await,
        Command::Size(args) => size::execute(args).await?,
        Command::Review(args) => review::execute(args).await?,
        Command::Apply(args) => apply::execute(args).await?,
        Command::Delete(args) => delete::execute(args).await?,
        Command::Export(args) => export::execute(args).await?,
        Command::Adopt(args) => adopt::execute(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The Tenants that a file describes.
pub(super) fn read_file(path: &Path) -> Result<Vec<Tenant>, Failure> {
    let described = file::read(path)?;
    Ok(described.into_iter().map(|one| one.tenant).collect())
}

/// What the controller's configuration says of tenants.
#[derive(Clone, Debug, clap::Args)]
struct SettingsArgs {
    /// How the controller's configuration calls namespaces
    #[arg(long, value_name = "TEXT", default_value_t, value_parser = template)]
    namespace_template: Template,
    /// The resource that pods name to get a GPU
    #[arg(long, value_name = "NAME", default_value = crate::api::labels::GPU_RESOURCE, value_parser = gpu_resource)]
    gpu_resource: String,
}

impl SettingsArgs {
    fn settings(&self) -> Settings {
        Settings {
            template: self.namespace_template.clone(),
            gpu_resource: self.gpu_resource.clone(),
        }
    }
}

fn template(text: &str) -> Result<Template, TemplateError> {
    Template::parse(text)
}
