//! A Go module of ours, built once and kept in the cache of the user.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, iter};

use crate::error::{Context, Error, Result};

/// What is built, and from what.
pub(crate) struct GoModule {
    /// Name of the program, and of its directory in the cache.
    pub(crate) name: &'static str,
    /// Name and text of every file, so that no checkout is needed to build it.
    pub(crate) sources: &'static [(&'static str, &'static str)],
    /// The package with `main`, as the module knows it.
    pub(crate) package: &'static str,
    /// `-ldflags` of the build.
    pub(crate) linker_flags: &'static str,
    /// Files of modules that it depends on, kept beside the program: under which name, of which
    /// module, and where that has it.
    pub(crate) kept: &'static [(&'static str, &'static str, &'static str)],
    /// What is said while it is built.
    pub(crate) notice: &'static str,
}

impl GoModule {
    /// The built program. It is built first if need be, once per version of the module.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when there is no Go to build it, or what went wrong with the build.
    pub(crate) fn find_or_build(&self) -> Result<PathBuf> {
        let version = format!("{:016x}", self.fingerprint());
        let directory = cache()?.join("prorata").join(self.name).join(version);
        let binary = directory.join(self.name);
        if !binary.exists() {
            self.build_once(&directory, &binary)?;
        }
        Ok(binary)
    }

    /// FNV-1a over everything that decides what is built. The standard hasher may change between
    /// releases of Rust, and each change would cost everybody a build.
    fn fingerprint(&self) -> u64 {
        let texts = self
            .sources
            .iter()
            .flat_map(|(name, text)| [*name, *text])
            .chain(iter::once(self.linker_flags))
            .chain(self.kept.iter().flat_map(|kept| [kept.0, kept.1, kept.2]));
        texts
            .flat_map(str::bytes)
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
    }

    /// Builds under a lock, so that of several processes one builds and the others wait.
    fn build_once(&self, directory: &Path, binary: &Path) -> Result<()> {
        let action = || format!("prepare {}", directory.display());
        fs::create_dir_all(directory).when(action())?;
        let lock = File::create(directory.join("lock")).when(action())?;
        lock.lock().when(action())?;
        if binary.exists() {
            Ok(())
        } else {
            self.build(directory, binary)
        }
    }

    /// Builds beside the final place and renames, so that nobody ever sees half a file.
    fn build(&self, directory: &Path, binary: &Path) -> Result<()> {
        let module = tempfile::tempdir_in(directory).when("make a directory for a Go module")?;
        for (name, text) in self.sources {
            fs::write(module.path().join(name), text).when(format_args!("write {name}"))?;
        }
        let built = module.path().join(self.name);
        let mut go = Command::new("go");
        go.args(["build", "-trimpath", "-ldflags", self.linker_flags, "-o"])
            .arg(&built)
            .arg(self.package)
            .current_dir(module.path())
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0")
            .stdin(Stdio::null())
            .stderr(Stdio::piped());
        self.run(go)?;
        for (name, of, path) in self.kept {
            let source = root_of(of, module.path())?.join(path);
            // A copy of what is read-only in Go's cache could not be written again.
            let text = fs::read(&source).when(format_args!("read {}", source.display()))?;
            fs::write(directory.join(name), text).when(format_args!("write {name}"))?;
        }
        fs::rename(&built, binary).when(format_args!("put {} into the cache", self.name))
    }

    fn run(&self, mut go: Command) -> Result<()> {
        let go = match go.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Missing),
            go => go.when("run `go build`")?,
        };
        // Written to the stream itself: the macro's output would be held back by the test runner.
        let _ = writeln!(io::stderr(), "{}", self.notice);
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
}

/// The directory in which Go keeps a module that the one at `from` depends on.
fn root_of(module: &str, from: &Path) -> Result<PathBuf> {
    let mut go = Command::new("go");
    go.args(["list", "-m", "-f", "{{.Dir}}", module])
        .current_dir(from)
        .env("GOTOOLCHAIN", "local")
        .stdin(Stdio::null());
    let listed = go.output().when("run `go list`")?;
    if listed.status.success() {
        let path = String::from_utf8_lossy(&listed.stdout);
        return Ok(PathBuf::from(path.trim()));
    }
    Err(Error::Build {
        status: listed.status,
        output: String::from_utf8_lossy(&listed.stderr).into_owned(),
    })
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
