//! The commands of the network in a build without them.

use std::ffi::OsString;

use clap::Args;

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Not in this build: build with --features serve
#[derive(Args, Debug)]
pub(crate) struct Absent {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Absent {
    pub(crate) fn run(&self, _: &Output) -> Result<Exit, Failure> {
        let message = "this build has neither a service nor a client of one; build with --features serve";
        Err(Failure::usage("usage", message))
    }
}

pub(crate) mod inject {
    pub(crate) use super::Absent as Inject;
}

pub(crate) mod push {
    pub(crate) use super::Absent as Push;
}

pub(crate) mod serve {
    pub(crate) use super::Absent as Serve;
}

pub(crate) mod token {
    pub(crate) use super::Absent as Token;
}
