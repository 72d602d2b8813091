//! Where the programs of the control plane come from.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, iter};

use crate::Program;
use crate::error::{Context, Error, Result};

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
        let directory = cache()?.join(format!("prorata/controlplane/{:016x}", fingerprint()));
        let binary = directory.join("controlplane");
        if !binary.exists() {
            build_once(&directory, &binary)?;
        }
        Ok(Self::Ours(binary))
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

/// The Go module, carried along so that no checkout is needed to build it.
const SOURCES: [(&str, &str); 4] = [
    ("etcd.go", include_str!("../etcd.go")),
    ("go.mod", include_str!("../go.mod")),
    ("go.sum", include_str!("../go.sum")),
    ("main.go", include_str!("../main.go")),
];

/// Without the version the API server calls itself v0.0.0-master, and clients believe it.
const LINKER_FLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.37.1 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=37";

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

fn cache() -> Result<PathBuf> {
    let set = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("XDG_CACHE_HOME")
        .or_else(|| Some(set("HOME")?.join(".cache")))
        .ok_or_else(|| io::Error::other("neither XDG_CACHE_HOME nor HOME is set"))
        .when("find the cache of the user")
}

/// FNV-1a over everything that decides what is built. The standard hasher may change between
/// releases of Rust, and each change would cost everybody a build.
fn fingerprint() -> u64 {
    let texts = SOURCES
        .iter()
        .flat_map(|(name, text)| [*name, *text])
        .chain(iter::once(LINKER_FLAGS));
    texts
        .flat_map(str::bytes)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
}

/// Builds under a lock, so that of several processes one builds and the others wait.
fn build_once(directory: &Path, binary: &Path) -> Result<()> {
    let action = || format!("prepare {}", directory.display());
    fs::create_dir_all(directory).when(action())?;
    let lock = File::create(directory.join("lock")).when(action())?;
    lock.lock().when(action())?;
    if binary.exists() {
        Ok(())
    } else {
        build(directory, binary)
    }
}

/// Builds beside the final place and renames, so that nobody ever sees half a file.
fn build(directory: &Path, binary: &Path) -> Result<()> {
    let module = tempfile::tempdir_in(directory).when("make a directory for the Go module")?;
    for (name, text) in SOURCES {
        fs::write(module.path().join(name), text).when(format_args!("write {name}"))?;
    }
    let built = module.path().join("controlplane");
    let mut go = Command::new("go");
    go.args(["build", "-trimpath", "-ldflags", LINKER_FLAGS, "-o"])
        .arg(&built)
        .current_dir(module.path())
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    run(go)?;
    fs::rename(&built, binary).when("put the built control plane into the cache")
}

fn run(mut go: Command) -> Result<()> {
    let go = match go.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Missing),
        go => go.when("run `go build`")?,
    };
    // Written to the stream itself: the macro's output would be held back by the test runner.
    let _ = writeln!(
        io::stderr(),
        "building etcd and Kubernetes for the tests: about 6 minutes the first time"
    );
    let go = go.wait_with_output().when("wait for `go build`")?;
    if go.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&go.stderr).into_owned();
    Err(Error::Build {
        status: go.status,
        output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_go_module_is_carried_along() {
        let directory = fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
        let names = directory.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut go: Vec<String> = names
            .filter(|name| name.ends_with(".go") || name.starts_with("go."))
            .collect();
        go.sort();
        assert_eq!(go, SOURCES.map(|(name, _)| name));
    }
}
