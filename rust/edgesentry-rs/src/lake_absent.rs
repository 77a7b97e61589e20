//! Stub of records in S3 for a build without the feature `s3`.

use edgesentry_formats::{Error, Source};

use crate::s3_settings::S3Settings;
pub use crate::s3_settings::path_of_url;

/// The state of an object at the time of its listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectState {
    /// Its URL.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its version, by the store.
    pub etag: String,
}

/// Returns an error that names the feature.
///
/// # Errors
/// Always.
pub fn sources(url: &str, _: &S3Settings) -> Result<Vec<Source>, Error> {
    Err(absent(url))
}

/// Returns an error that names the feature.
///
/// # Errors
/// Always.
pub fn states(url: &str, _: &S3Settings) -> Result<Vec<ObjectState>, Error> {
    Err(absent(url))
}

fn absent(url: &str) -> Error {
    let name = url.chars().take(200).collect::<String>().into();
    Error::Unreadable { name, problem: "this build has no S3 support; build with --features s3".to_owned() }
}
