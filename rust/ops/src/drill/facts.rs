//! The circumstances of a drill: its extent, the machine, and the versions.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::postgres::Programs;
use crate::program;

/// The extent of a drill.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// All of it, in the documented size or a larger one. Only such a run counts for the quarter and for alerts.
    Full,
    /// The short form, which shows that everything works.
    Short,
    /// Less than all of it, such as one alert of many or a smaller ledger. Reports of earlier releases do not state
    /// their extent, and count as partial.
    #[default]
    Partial,
}

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Extent::Full => "full",
            Extent::Short => "short",
            Extent::Partial => "partial",
        })
    }
}

/// The machine that a drill ran on.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Host {
    /// The host name.
    pub name: String,
    /// Such as `Debian GNU/Linux 12 (bookworm), kernel 6.1.0-31-amd64, x86_64`.
    pub system: String,
    /// Processors that the process may use.
    pub cores: usize,
}

/// The versions of the programs, such as `eds` and `PostgreSQL`.
pub type Versions = BTreeMap<String, String>;

/// Returns the first line of a program's version output.
pub(super) fn version_of(program: &Path, argument: &str) -> String {
    let said = program::done(Command::new(program).arg(argument), Duration::from_secs(60));
    let said = said.unwrap_or_default();
    said.lines().next().map_or("unknown", str::trim).to_owned()
}

/// Returns the version, such as `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
pub(super) fn postgres_version(programs: &Programs) -> String {
    version_of(&programs.folder().join("postgres"), "--version")
}

impl Host {
    /// Returns this machine.
    pub fn this() -> Host {
        let kernel = |file: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
            if text.trim().is_empty() { "unknown".to_owned() } else { text.trim().to_owned() }
        };
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let distribution = pretty.map_or(std::env::consts::OS, |pretty| pretty.trim_matches('"'));
        let system = format!("{distribution}, kernel {}, {}", kernel("osrelease"), std::env::consts::ARCH);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Host { name: kernel("hostname"), system, cores }
    }
}
