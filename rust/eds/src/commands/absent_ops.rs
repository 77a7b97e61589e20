//! The operations in a build without them.

use std::ffi::OsString;

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Not in this build: build with --features ops
#[derive(Args, Debug)]
pub(crate) struct Absent {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Absent {
    pub(crate) fn run(&self, _: &Output) -> Result<Exit, Failure> {
        let message = "this build has neither operations nor drills; build with --features ops";
        Err(Failure::usage("usage", message))
    }
}

pub(crate) mod drill {
    pub(crate) use super::Absent as Drill;
}

pub(crate) mod ops {
    pub(crate) use super::Absent as Ops;

    /// The command that answers PostgreSQL with exit codes of its own.
    pub(crate) const FETCH_WAL: &str = "fetch-wal";
}
