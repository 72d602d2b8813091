//! The command line. Each role gets what it needs, already checked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli;
use crate::config::gpu_resource;
use crate::install;
use crate::install::certificates;
use crate::install::scheduler::SchedulerConfig;

/// Fair shares of one Kubernetes cluster's GPUs.
///
/// Exit codes: 0 done, 1 failed, 2 wrong usage or wrong input.
///
/// Linked as `kubectl-prorata` into a directory of $PATH it is also `kubectl prorata`.
#[derive(Debug, Parser)]
#[command(
    name = "prorata",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  prorata list -A
  prorata explain train-7
  prorata install | kubectl apply -f -
  prorata validate tenants.yaml prorata.yaml
  prorata controller --config prorata.yaml
  prorata sim run scenario.yaml"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub role: Role,
}

/// The name under which kubectl finds us: `kubectl prorata …`.
const PLUGIN: &str = "kubectl-prorata";

impl Cli {
    /// Reads a command line. Called as `kubectl-prorata` it speaks of itself as kubectl does.
    ///
    /// # Errors
    /// When it makes no sense, or asks for help; the error prints what is to be said.
    pub fn read(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = line.into_iter().collect();
        let program = line
            .first()
            .and_then(|program| Path::new(program).file_stem());
        let mut command = Self::told();
        if program.is_some_and(|name| name == PLUGIN) {
            command = command.bin_name("kubectl prorata");
        }
        let matches = command.try_get_matches_from_mut(line)?;
        Self::from_arg_matches(&matches)
    }

    /// All there is to say, with paragraphs that are wrapped where the terminal ends.
    fn told() -> clap::Command {
        flowing(Self::command())
    }
}

/// The same command, and those below it, with what follows the options in whole paragraphs.
fn flowing(command: clap::Command) -> clap::Command {
    let after = command
        .get_after_help()
        .map(|text| joined(&text.to_string()));
    let command = match after {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(flowing)
}

/// Lines of one paragraph as one line. Those that are indented stand for themselves.
fn joined(text: &str) -> String {
    let mut joined = String::new();
    let mut is_open = false;
    for line in text.lines() {
        let is_prose = !line.is_empty() && !line.starts_with(' ');
        if !joined.is_empty() {
            joined.push(if is_open && is_prose { ' ' } else { '\n' });
        }
        joined.push_str(line);
        is_open = is_prose && !line.ends_with(':');
    }
    joined
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Role {
    /// What people do with the queue.
    #[command(flatten)]
    Queue(cli::Command),
    /// Run the queue: decide, admit, and answer kube-scheduler.
    Controller(ControllerArgs),
    /// Simulate: the same decisions on a modelled cluster.
    #[command(subcommand)]
    Sim(prorata_simulator::cli::Command),
    /// Print everything that the cluster needs, for `kubectl apply -f -`.
    Install(Box<InstallArgs>),
    /// Print the custom resource definitions alone.
    Crds,
    /// Print a script by which a shell completes what is typed.
    #[command(after_help = "\
Examples:
  source <(prorata completion bash)                  in this shell
  prorata completion zsh > \"${fpath[1]}/_prorata\"    in every zsh
  prorata completion fish > ~/.config/fish/completions/prorata.fish")]
    Completion(CompletionArgs),
    /// Check Tenant, Configuration and Prices files, without a cluster.
    #[command(after_help = "\
Each mistake is told as FILE:LINE:COLUMN: FIELD: what is wrong, and what to do about it.

Example:
  prorata validate tenants.yaml prorata.yaml")]
    Validate(ValidateArgs),
}

/// Options of `prorata controller`.
#[derive(Debug, Args)]
pub struct ControllerArgs {
    /// The Configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// How to reach the API server; without it, as a pod or as kubectl would.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// Options of `prorata completion`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: clap_complete::Shell,
}

impl CompletionArgs {
    /// The script.
    #[must_use]
    pub fn render(&self) -> String {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "prorata", &mut script);
        String::from_utf8_lossy(&script).into_owned()
    }
}

/// Options of `prorata install`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  prorata install | kubectl apply -f -
  prorata install --gpu-resource amd.com/gpu | kubectl diff -f -
  prorata install scheduler-config --extender-url https://10.0.0.7:8443 > kube-scheduler.yaml")]
pub struct InstallArgs {
    /// Print one part alone.
    #[command(subcommand)]
    pub part: Option<InstallPart>,
    /// How kube-scheduler is configured.
    #[command(flatten)]
    pub scheduler: SchedulerArgs,
}

/// A part of the installation.
#[derive(Debug, Subcommand)]
pub enum InstallPart {
    /// Print the bare configuration of kube-scheduler, for its `--config`.
    SchedulerConfig,
    /// Print the namespace, account and rights of the agents on GPU nodes.
    #[command(after_help = "\
Example:
  prorata install agent | kubectl apply -f -")]
    Agent,
    /// Print the rights that the controller needs to show the dashboard.
    #[command(after_help = "\
Example:
  prorata install dashboard | kubectl apply -f -")]
    Dashboard,
    /// Print Secrets with new certificates for the extender and for kube-scheduler.
    ///
    /// A new authority signs both, and its key is forgotten. Where cert-manager runs, let that make
    /// them instead.
    #[command(after_help = "\
Examples:
  prorata install certificates | kubectl apply -f -
  prorata install certificates --days 90 --name 10.96.0.50 | kubectl apply -f -")]
    Certificates(CertificatesArgs),
}

/// Options of `prorata install certificates`.
#[derive(Debug, Args)]
pub struct CertificatesArgs {
    /// How long they are good for
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// A further name or address of the extender; may be given several times
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
}

/// How kube-scheduler is configured.
#[derive(Debug, Args)]
pub struct SchedulerArgs {
    /// The resource that pods name to get a GPU.
    #[arg(long, global = true, value_name = "NAME", default_value = crate::api::labels::GPU_RESOURCE, value_parser = gpu_resource)]
    pub gpu_resource: String,
    /// Where kube-scheduler reaches the extender.
    #[arg(long, global = true, value_name = "URL", default_value = "https://prorata.prorata-system.svc:8443", value_parser = https)]
    pub extender_url: String,
    /// The name in the extender's certificate, where the URL says another, such as an address
    #[arg(long, global = true, value_name = "NAME")]
    pub server_name: Option<String>,
    /// For a second scheduler of this name, which runs as a pod, instead of the cluster's own
    #[arg(long, global = true, value_name = "NAME")]
    pub scheduler_name: Option<String>,
    /// Directory with tls.crt and tls.key of kube-scheduler, and ca.crt of the extender.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/etc/kubernetes/prorata"
    )]
    pub tls_dir: PathBuf,
    /// The kubeconfig of kube-scheduler.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        default_value = "/etc/kubernetes/scheduler.conf"
    )]
    pub kubeconfig: PathBuf,
    /// Requests per second of kube-scheduler to the API server [default: Kubernetes' own]
    #[arg(long, global = true, value_name = "N", requires = "burst")]
    pub qps: Option<u32>,
    /// The same in a burst [default: Kubernetes' own]
    #[arg(long, global = true, value_name = "N", requires = "qps")]
    pub burst: Option<u32>,
    /// There is only one kube-scheduler.
    #[arg(long, global = true)]
    pub no_leader_election: bool,
    /// Longest wait before a refused pod is tried again, in seconds [default: Kubernetes' own]
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_backoff: Option<u32>,
}

/// Options of `prorata validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Files of YAML, each with one or more documents.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

impl From<SchedulerArgs> for SchedulerConfig {
    fn from(args: SchedulerArgs) -> Self {
        Self {
            extender_url: args.extender_url,
            server_name: args.server_name,
            second: args.scheduler_name,
            tls_dir: args.tls_dir,
            gpu_resource: args.gpu_resource,
            kubeconfig: args.kubeconfig,
            client_rate: args.qps.zip(args.burst),
            leader_election: !args.no_leader_election,
            backoff_max: args
                .max_backoff
                .map(|seconds| Duration::from_secs(seconds.into())),
        }
    }
}

impl InstallArgs {
    /// What is to be printed.
    ///
    /// # Errors
    /// When it cannot be written as YAML, or a certificate cannot be made.
    pub fn render(self) -> Result<String, install::Error> {
        let scheduler = SchedulerConfig::from(self.scheduler);
        match self.part {
            Some(InstallPart::SchedulerConfig) => Ok(scheduler.render()?),
            Some(InstallPart::Agent) => install::agent::render(),
            Some(InstallPart::Dashboard) => install::dashboard::render(),
            Some(InstallPart::Certificates(args)) => certificates::render(args.days, args.names),
            None => Ok(install::render(&scheduler)?),
        }
    }
}

/// kube-scheduler would speak plain HTTP, or trust anybody, without a word.
fn https(url: &str) -> Result<String, String> {
    let uri = url
        .parse()
        .map_err(|error| format!("not a URL: {error}; write https://HOST:PORT"))?;
    if is_extender(&uri) && !url.contains('#') {
        Ok(url.to_owned())
    } else {
        Err("not https://HOST:PORT; the extender answers over TLS only".to_owned())
    }
}

/// kube-scheduler puts a path behind it, so it ends before a query.
fn is_extender(uri: &Uri) -> bool {
    let plain = uri.authority().is_some_and(|authority| {
        let host = authority.host();
        let port = authority.port_u16();
        let bare = port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        !host.is_empty() && authority.as_str() == bare
    });
    plain && uri.scheme_str() == Some("https") && uri.query().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn paragraphs_are_wrapped_by_the_terminal_and_examples_are_not() {
        let text = "One two\nthree.\n\nExamples:\n  prorata list\n  prorata share\nMore\nof it.";
        let expected = "One two three.\n\nExamples:\n  prorata list\n  prorata share\nMore of it.";
        assert_eq!(joined(text), expected);
        let drain = |command: &clap::Command| {
            let drain = command.find_subcommand("drain").unwrap();
            drain.get_after_help().unwrap().to_string()
        };
        assert!(drain(&Cli::told()).contains("its age kept"));
        assert!(!drain(&Cli::told()).contains("its\nage"));
    }

    #[test]
    fn shells_complete_commands() {
        for (shell, expected) in [
            ("bash", "prorata__subcmd__explain"),
            ("zsh", "'reprioritise:"),
            ("fish", "-a \"what-if\""),
        ] {
            let cli = Cli::parse_from(["prorata", "completion", shell]);
            let Role::Completion(args) = cli.role else {
                panic!("another role")
            };
            let script = args.render();
            assert!(script.contains(expected), "{script}");
        }
    }

    #[test]
    fn as_a_plugin_it_calls_itself_as_kubectl_does() {
        let usage = |program: &str| {
            let line = [program, "list", "--help"].map(OsString::from);
            Cli::read(line).unwrap_err().to_string()
        };
        assert!(usage("/bin/prorata").contains("Usage: prorata list "));
        assert!(usage("/bin/kubectl-prorata").contains("Usage: kubectl prorata list "));
    }

    #[test]
    fn defaults_of_the_command_line_are_those_of_the_library() {
        let cli = Cli::parse_from(["prorata", "install"]);
        let Role::Install(args) = cli.role else {
            panic!("another role")
        };
        assert_eq!(
            args.render().unwrap(),
            install::render(&SchedulerConfig::default()).unwrap()
        );
    }
}
