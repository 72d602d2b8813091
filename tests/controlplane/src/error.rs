//! What can go wrong while a control plane starts or runs.

use std::fmt::Display;
use std::io;
use std::process::ExitStatus;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a control plane did not start, or does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither ready programs nor a Go tool chain to build them.
    #[error(
        "the programs of the control plane are missing, and so is Go to build them.\n\
         Either install Go 1.26 or newer (https://go.dev/dl/); the first build takes about 6 minutes.\n\
         Or set KUBEBUILDER_ASSETS to a directory with etcd, kube-apiserver, \
         kube-controller-manager, kube-scheduler and kubectl, Kubernetes 1.36 or newer"
    )]
    Missing,
    /// `KUBEBUILDER_ASSETS` is set, but a program is not in it.
    #[error(
        "KUBEBUILDER_ASSETS={directory} has no file {program}: put it there or unset the variable"
    )]
    Incomplete {
        /// The directory that the variable names.
        directory: String,
        /// The program that is not there.
        program: &'static str,
    },
    /// `go build` failed.
    #[error("`go build` of the control plane failed ({status}):\n{output}")]
    Build {
        /// How it ended.
        status: ExitStatus,
        /// The end of what it printed.
        output: String,
    },
    /// A program ended by itself.
    #[error("{program} ended ({status}); the end of its log:\n{log}")]
    Died {
        /// Which one.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// A program was not ready in time.
    #[error("{program} was not ready within {seconds} s; the end of its log:\n{log}")]
    Late {
        /// Which one.
        program: String,
        /// How long it had.
        seconds: u64,
        /// The last lines of its log.
        log: String,
    },
    /// A program that was asked about does not run.
    #[error("{0} is not running")]
    NotRunning(String),
    /// The fake kubelet did not see a pod in time that the API server says is bound.
    #[error("the fake kubelet did not end the pods of {0} in time")]
    NotFinished(String),
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why it failed.
        source: io::Error,
    },
    /// What `/proc` says about a process cannot be read.
    #[error("cannot read /proc: {0}")]
    Proc(#[from] procfs::ProcError),
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A kubeconfig of ours cannot be read back.
    #[error("cannot use a kubeconfig: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// The API server refused a request.
    #[error("the API server refused: {0}")]
    Api(#[from] kube::Error),
}

/// Says what was tried when the operating system refused it.
pub(crate) trait Context<T> {
    /// Names the action, as in "cannot {action}: permission denied".
    fn when(self, action: impl Display) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn when(self, action: impl Display) -> Result<T> {
        self.map_err(|source| Error::Io {
            action: action.to_string(),
            source,
        })
    }
}
