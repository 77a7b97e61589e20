//! Time stamping authorities over HTTP in a build without the feature `client`.

use std::sync::Arc;
use std::time::Duration;

use super::StampClient;
use crate::error::Error;

/// Refuses every authority.
pub(super) fn client(_: &str, _: Duration) -> Result<Arc<dyn StampClient>, Error> {
    let problem = "this build cannot ask time stamping authorities; build with --features client";
    Err(Error::Config(problem.to_owned()))
}
