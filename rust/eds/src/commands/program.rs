//! The path of this program, which PostgreSQL archives and recovers with.

use std::path::PathBuf;

use clap::Args;

use crate::exit::Failure;

/// The program that PostgreSQL archives and recovers with.
#[derive(Args, Clone, Debug)]
pub(super) struct EdsArgs {
    /// The program eds that PostgreSQL runs [default: this one]
    #[arg(long, value_name = "FILE")]
    eds: Option<PathBuf>,
}

impl EdsArgs {
    pub(super) fn find(&self) -> Result<PathBuf, Failure> {
        let Some(eds) = &self.eds else { return this_program() };
        if !eds.is_file() {
            let message = format!("{}: there is no such program; pass the path of eds", eds.display());
            return Err(Failure::usage("program_missing", message));
        }
        let full = std::path::absolute(eds);
        full.map_err(|error| Failure::unfinished("io", format!("{}: {error}", eds.display())))
    }
}

/// Returns the path of `eds`. Under Python the executable is the interpreter; `eds` is then beside it, or in `PATH`.
fn this_program() -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()
        .map_err(|error| Failure::unfinished("io", format!("cannot find this program: {error}")))?;
    if this.file_stem().is_some_and(|name| name == "eds") {
        return Ok(this);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = this.parent().map(PathBuf::from).into_iter().chain(std::env::split_paths(&path));
    let found = beside.map(|folder| folder.join("eds")).find(|eds| eds.is_absolute() && eds.is_file());
    found.ok_or_else(|| {
        let message = "the program eds, which PostgreSQL runs, is neither next to the interpreter nor in PATH; pass \
             it with --eds";
        Failure::usage("program_missing", message)
    })
}
