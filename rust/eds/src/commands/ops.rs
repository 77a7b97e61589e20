//! `eds ops`: what operators of a PostgreSQL ledger do. One subcommand a file.

mod bucket;
mod checklist;
mod restore_object;
mod s3_check;
mod s3_setup;
mod session;

use clap::{Args, Subcommand};

use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Back up, restore, and prove it: PostgreSQL ledgers and their archive in S3 or in a folder
#[derive(Args, Debug)]
pub(crate) struct Ops {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Subcommand, Debug)]
enum Action {
    S3Setup(s3_setup::S3Setup),
    S3Check(s3_check::S3Check),
    RestoreObject(restore_object::RestoreObject),
}

impl Ops {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match &self.action {
            Action::S3Setup(command) => command.run(output),
            Action::S3Check(command) => command.run(output),
            Action::RestoreObject(command) => command.run(output),
        }
    }
}
