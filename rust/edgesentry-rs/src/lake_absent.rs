//! Stub of records in S3 for a build without the feature `s3`.

use edgesentry_formats::{Error, Source};

use crate::s3_settings::S3Settings;
pub use crate::s3_settings::path_of_url;

/// Returns an error that names the feature.
///
/// # Errors
/// Always.
pub fn sources(url: &str, _: &S3Settings) -> Result<Vec<Source>, Error> {
    let name = url.chars().take(200).collect::<String>().into();
    Err(Error::Unreadable {
        name,
        problem: "this build has no S3 support; build with --features s3".to_owned(),
    })
}
