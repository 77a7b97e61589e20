//! Witnesses over HTTP in a build without the feature `client`.

use std::sync::Arc;
use std::time::Duration;

use super::WitnessClient;
use crate::error::Error;

/// Refuses every witness with a URL.
pub(super) fn client(_: &str, _: Duration) -> Result<Arc<dyn WitnessClient>, Error> {
    let problem = "this build cannot ask witnesses; build with --features client";
    Err(Error::Config(problem.to_owned()))
}
