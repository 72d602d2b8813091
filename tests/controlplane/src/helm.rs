//! helm, for tests of the chart.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, io};

use crate::error::{Error, Result};
use crate::gomodule::GoModule;

/// helm, of the version that `helm/go.mod` names.
#[derive(Clone, Debug)]
pub struct Helm(PathBuf);

const HELM: GoModule = GoModule {
    name: "helm",
    sources: &[
        ("go.mod", include_str!("../helm/go.mod")),
        ("go.sum", include_str!("../helm/go.sum")),
    ],
    package: "helm.sh/helm/v4/cmd/helm",
    linker_flags: "-s -w",
    kept: &[],
    notice: "building helm for the tests: about a minute the first time",
};

impl Helm {
    /// Takes helm from the cache of the user, where it is built first if need be. It shares most
    /// packages with the control plane, so it takes little time once that is built.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no Go to build it, or what went wrong with the build.
    pub fn find_or_build() -> Result<Self> {
        HELM.find_or_build().map(Self)
    }

    /// helm for a test, which ends early when this is `None`: there is no Go to build it, and that
    /// has been said loudly. Where the variable `CI` is set, the test fails.
    ///
    /// # Panics
    ///
    /// When it cannot be built, for any other reason or in CI.
    #[must_use]
    pub fn find_or_skip() -> Option<Self> {
        match Self::find_or_build() {
            Ok(helm) => Some(helm),
            Err(error @ Error::Missing) if env::var_os("CI").is_none() => {
                let _ = writeln!(io::stderr(), "\nSKIPPED, NOT TESTED: {error}\n");
                None
            }
            Err(error) => panic!("no helm: {error}"),
        }
    }

    /// The command, with nothing of the user's own helm; the arguments are still to be added.
    #[must_use]
    pub fn command(&self, home: &Path) -> Command {
        let mut command = Command::new(&self.0);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, home);
        }
        command
    }
}
