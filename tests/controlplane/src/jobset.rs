//! The controller of JobSets that its project publishes, for tests of what it makes.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::{env, io};

use crate::error::{Error, Result};
use crate::gomodule::GoModule;
use crate::{ControlPlane, Process, User};

/// The controller, of the version that `jobset/go.mod` names, and the definition of its kind.
#[derive(Clone, Debug)]
pub struct JobSets(PathBuf);

const DEFINITION: &str = "jobsets.yaml";

const JOB_SETS: GoModule = GoModule {
    name: "jobset",
    sources: &[
        ("go.mod", include_str!("../jobset/go.mod")),
        ("go.sum", include_str!("../jobset/go.sum")),
        ("main.go", include_str!("../jobset/main.go")),
    ],
    package: ".",
    linker_flags: "-s -w",
    kept: &[(
        DEFINITION,
        "sigs.k8s.io/jobset",
        "config/components/crd/bases/jobset.x-k8s.io_jobsets.yaml",
    )],
    notice: "building the controller of JobSets for the tests: about a minute the first time",
};

impl JobSets {
    /// Takes the controller from the cache of the user, where it is built first if need be. It
    /// shares most packages with the control plane, so it takes little time once that is built.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no Go to build it, or what went wrong with the build.
    pub fn find_or_build() -> Result<Self> {
        JOB_SETS.find_or_build().map(Self)
    }

    /// The controller for a test, which ends early when this is `None`: there is no Go to build it,
    /// and that has been said loudly. Where the variable `CI` is set, the test fails.
    ///
    /// # Panics
    ///
    /// When it cannot be built, for any other reason or in CI.
    #[must_use]
    pub fn find_or_skip() -> Option<Self> {
        match Self::find_or_build() {
            Ok(found) => Some(found),
            Err(error @ Error::Missing) if env::var_os("CI").is_none() => {
                let _ = writeln!(io::stderr(), "\nSKIPPED, NOT TESTED: {error}\n");
                None
            }
            Err(error) => panic!("no controller of JobSets: {error}"),
        }
    }

    /// The file with the definition of the kind.
    #[must_use]
    pub fn definition(&self) -> PathBuf {
        self.0.with_file_name(DEFINITION)
    }

    /// Starts the controller, which may do what this user may.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn start(&self, plane: &ControlPlane, user: User) -> Result<Process> {
        let mut command = Command::new(&self.0);
        command.env("KUBECONFIG", plane.kubeconfig(user));
        Process::start("jobset-controller", command, plane.directory(), false)
    }
}
