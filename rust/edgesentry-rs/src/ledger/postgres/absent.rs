//! PostgreSQL in a build without the feature `postgres`.

use std::sync::Arc;

use super::{Ledger, PostgresSettings, WitnessTables};
use crate::error::Error;

/// Refuses every state of a witness.
pub(crate) async fn open_witness(_: &PostgresSettings, _: bool) -> Result<Arc<dyn WitnessTables>, Error> {
    let problem = "state: this build has no PostgreSQL support; build with --features postgres";
    Err(Error::Config(problem.to_owned()))
}

/// Refuses every ledger.
pub(crate) async fn open(_: &PostgresSettings, _: bool) -> Result<Arc<dyn Ledger>, Error> {
    let problem = "ledger: this build has no PostgreSQL support; build with --features postgres";
    Err(Error::Config(problem.to_owned()))
}
