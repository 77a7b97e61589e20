//! Programs that a drill needs and that must be installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::error::ServerError;
use crate::process::{Process, free_port};

/// The number of ports to try: another process may take one before the server does.
const MAX_PORTS_TRIED: usize = 3;
/// The timeout for a server to be ready, on a slow machine.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// A program that must be installed.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The name, for people.
    pub name: &'static str,
    /// The possible names of its file on different distributions.
    pub files: &'static [&'static str],
    /// The Debian package that contains it.
    pub package: &'static str,
    /// Another place to search.
    pub elsewhere: Option<fn() -> Option<PathBuf>>,
}

impl Program {
    /// Returns its path: in the first directory of `PATH` that has it, or elsewhere.
    pub fn find(&self) -> Result<PathBuf, ServerError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
        let found = self.files.iter().find_map(|file| {
            folders.iter().map(|folder| folder.join(file)).find(|candidate| is_executable(candidate))
        });
        let found = found.or_else(|| self.elsewhere.and_then(|look| look()));
        found.ok_or(ServerError::Missing { program: self.name, package: self.package })
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// Starts a server on a free loopback port, which `command` receives, and waits until `GET /-/ready` succeeds.
pub(super) async fn start(
    name: &'static str,
    log: &Path,
    command: impl Fn(u16) -> Command,
) -> Result<(Process, String), ServerError> {
    let cannot = |source| ServerError::Start { program: name, source };
    let mut tried = 1;
    loop {
        let port = free_port().map_err(cannot)?;
        let mut process = Process::start(&mut command(port), log).map_err(cannot)?;
        let url = format!("http://127.0.0.1:{port}");
        match ready(name, &mut process, &url).await {
            Ok(()) => return Ok((process, url)),
            Err(ServerError::Ended { last_words, .. })
                if tried < MAX_PORTS_TRIED && last_words.contains("address already in use") =>
            {
                tried += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

async fn ready(name: &'static str, process: &mut Process, url: &str) -> Result<(), ServerError> {
    let ready = format!("{url}/-/ready");
    let begin = Instant::now();
    while begin.elapsed() < READY_TIMEOUT {
        if super::http::get(&ready).await.is_ok() {
            return Ok(());
        }
        if !process.lives() {
            return Err(ServerError::Ended { program: name, last_words: process.last_words() });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (seconds, last_words) = (READY_TIMEOUT.as_secs(), process.last_words());
    Err(ServerError::NotReady { program: name, seconds, last_words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let shell =
            Program { name: "a shell", files: &["no-such-shell", "sh"], package: "dash", elsewhere: None };
        assert!(shell.find().unwrap().ends_with("sh"));
        let missing = Program {
            name: "nothing",
            files: &["no-such-program"],
            package: "nothing-at-all",
            elsewhere: None,
        };
        let error = missing.find().unwrap_err().to_string();
        assert!(
            error.starts_with("nothing is missing") && error.contains("apt install nothing-at-all"),
            "{error}"
        );
    }
}
