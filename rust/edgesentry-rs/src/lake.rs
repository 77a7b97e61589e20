//! Records in S3: objects that are read in ranges, ahead of the reader.

mod list;
mod object;

use std::sync::Arc;

use aws_sdk_s3::Client;
use edgesentry_formats::{Error, Source};
use tokio::runtime::{Builder, Runtime};

use self::object::Object;
use crate::s3_settings::S3Settings;
pub use crate::s3_settings::path_of_url;

/// Threads that move data; verification has its own.
const THREADS: usize = 2;

/// A bucket, as all objects of one call read it.
#[derive(Debug)]
struct Bucket {
    client: Client,
    name: Box<str>,
    /// The URL of the bucket, with the server if it is not AWS.
    place: String,
    attempts: u32,
    runtime: Runtime,
}

/// An object, as the listing has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Listed {
    key: String,
    bytes: u64,
    etag: String,
    modified_ms: u64,
}

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

/// Returns the states of the objects that a URL stands for, as [`sources`] finds them.
///
/// # Errors
/// As [`sources`].
pub fn states(url: &str, settings: &S3Settings) -> Result<Vec<ObjectState>, Error> {
    let (bucket, listed) = find(url, settings)?;
    let state = |Listed { key, bytes, etag, .. }: Listed| ObjectState {
        name: format!("s3://{}/{key}", bucket.name),
        bytes,
        etag,
    };
    Ok(listed.into_iter().map(state).collect())
}

/// Returns the objects that a URL stands for, in the order of their keys: an object, a prefix as a directory, or a
/// pattern, as [`edgesentry_formats::files_of`] has them for files. Nothing is read yet.
///
/// # Errors
/// The URL names no objects or too many, or a table that lists its own files; or the bucket cannot be read.
pub fn sources(url: &str, settings: &S3Settings) -> Result<Vec<Source>, Error> {
    let (bucket, listed) = find(url, settings)?;
    Ok(listed.into_iter().map(|listed| Object::source(&bucket, listed)).collect())
}

fn find(url: &str, settings: &S3Settings) -> Result<(Arc<Bucket>, Vec<Listed>), Error> {
    let unreadable = |problem: &str| {
        let shown: String = url.chars().take(200).collect();
        Error::Unreadable { name: shown.into(), problem: problem.to_owned() }
    };
    let (bucket, key) = path_of_url(url).map_or(("", ""), |rest| rest.split_once('/').unwrap_or((rest, "")));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.is_empty() || !bucket.chars().all(is_name) {
        return Err(unreadable("expected s3://BUCKET/KEY"));
    }
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).thread_name("s3").enable_all().build();
    let runtime = runtime.map_err(|error| unreadable(&format!("cannot start threads: {error}")))?;
    let client = runtime.block_on(settings.client());
    let client = client.map_err(|error| unreadable(&edgesentry_formats::describe(&error)))?;
    let bucket = Arc::new(Bucket {
        client,
        name: bucket.into(),
        place: settings.place(&format!("s3://{bucket}")),
        attempts: settings.attempts.max(1),
        runtime,
    });
    let listed = bucket.runtime.block_on(bucket.find(key))?;
    Ok((bucket, listed))
}
