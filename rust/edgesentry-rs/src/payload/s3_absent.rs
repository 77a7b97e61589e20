//! S3 in a build without the feature `s3`.

use std::sync::Arc;

use super::PayloadStore;
use crate::error::Error;
use crate::s3_settings::S3Settings;

/// Refuses every bucket.
pub(crate) async fn open(_: &str, _: &S3Settings) -> Result<Arc<dyn PayloadStore>, Error> {
    let problem = "payloads: this build has no S3 support; build with --features s3";
    Err(Error::Config(problem.to_owned()))
}
