//! Where the programs of the control plane come from.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::Program;
use crate::error::{Error, Result};
use crate::gomodule::GoModule;

/// The programs, ready to run.
#[derive(Clone, Debug)]
pub enum Binaries {
    /// The file of our Go module, which is every program by its first argument.
    Ours(PathBuf),
    /// A directory with a file for each, as `KUBEBUILDER_ASSETS` names it.
    Assets(PathBuf),
}

impl Binaries {
    /// Takes the programs from `KUBEBUILDER_ASSETS`, or else from the cache of the user, where
    /// they are built first if need be: in about six minutes, once per version of the Go module.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is nothing ready and no Go to build it.
    pub fn find_or_build() -> Result<Self> {
        if let Some(directory) = env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty())
        {
            return assets(PathBuf::from(directory));
        }
        CONTROL_PLANE.find_or_build().map(Self::Ours)
    }

    /// The command that runs a program; the flags are still to be added.
    #[must_use]
    pub fn command(&self, program: Program) -> Command {
        match self {
            Self::Ours(binary) => {
                let mut command = Command::new(binary);
                command
                    .arg(program.name())
                    .env("PRORATA_EXIT_WITH_STDIN", "1");
                command
            }
            Self::Assets(directory) => Command::new(directory.join(program.name())),
        }
    }

    /// The command that runs kubectl; the arguments are still to be added.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        match self {
            Self::Ours(binary) => {
                let mut command = Command::new(binary);
                command.arg("kubectl");
                command
            }
            Self::Assets(directory) => Command::new(directory.join("kubectl")),
        }
    }
}

const CONTROL_PLANE: GoModule = GoModule {
    name: "controlplane",
    sources: &[
        ("etcd.go", include_str!("../etcd.go")),
        ("go.mod", include_str!("../go.mod")),
        ("go.sum", include_str!("../go.sum")),
        ("main.go", include_str!("../main.go")),
    ],
    package: ".",
    // Without the version the API server calls itself v0.0.0-master, and clients believe it.
    linker_flags: "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.37.1 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=37",
    kept: &[],
    notice: "building etcd and Kubernetes for the tests: about 6 minutes the first time",
};

fn assets(directory: PathBuf) -> Result<Binaries> {
    let mut programs = Program::ALL
        .into_iter()
        .map(Program::name)
        .chain(["kubectl"]);
    match programs.find(|program| !directory.join(program).is_file()) {
        Some(program) => Err(Error::Incomplete {
            directory: directory.display().to_string(),
            program,
        }),
        None => Ok(Binaries::Assets(directory)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_file_of_the_go_module_is_carried_along() {
        let directory = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
        let names = directory.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut go: Vec<String> = names
            .filter(|name| name.ends_with(".go") || name.starts_with("go."))
            .collect();
        go.sort();
        let carried: Vec<&str> = CONTROL_PLANE
            .sources
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(go, carried);
    }
}
