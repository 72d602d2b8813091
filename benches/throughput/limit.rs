//! Less processor time for one process, by a cgroup of its own (version 1 or 2; that takes root).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the limits of processor time are, and what they are called there.
const VERSION_1: &str = "/sys/fs/cgroup/cpu";
const VERSION_2: &str = "/sys/fs/cgroup";

/// In microseconds, and short: a process waits for no more than the rest of it.
const PERIOD: u32 = 10_000;

/// In force until it is dropped, which has to be after the process has ended.
pub(crate) struct Limit {
    group: PathBuf,
}

impl Limit {
    /// Lets the process, with all its threads, have so many cores.
    pub(crate) fn on(pid: u32, cores: f64) -> Self {
        let limited = Self::try_on(pid, cores);
        limited.unwrap_or_else(|error| {
            panic!("--scheduler-cores {cores}: no limit of processor time can be set, which takes root and cgroups: {error}")
        })
    }

    fn try_on(pid: u32, cores: f64) -> io::Result<Self> {
        let quota = (f64::from(PERIOD) * cores).round();
        let first = Path::new(VERSION_1).join("cpu.cfs_quota_us").exists();
        let parent = Path::new(if first { VERSION_1 } else { VERSION_2 });
        if !first {
            fs::write(parent.join("cgroup.subtree_control"), "+cpu")?;
        }
        let group = parent.join(format!("prorata-bench-{pid}"));
        fs::create_dir(&group)?;
        let limit = Self { group };
        if first {
            limit.set("cpu.cfs_period_us", &PERIOD.to_string())?;
            limit.set("cpu.cfs_quota_us", &quota.to_string())?;
        } else {
            limit.set("cpu.max", &format!("{quota} {PERIOD}"))?;
        }
        limit.set("cgroup.procs", &pid.to_string())?;
        Ok(limit)
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.group.join(file), value)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.group) {
            eprintln!("{} is left behind: {error}", self.group.display());
        }
    }
}
