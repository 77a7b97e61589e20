//! The places from which a monitor reads: a log or a witness over HTTP, or the files of a log.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_device::client::{Client, ClientSettings};

use super::Failure;
use crate::error::{Component, Error, describe};
use crate::objects::{self, Objects};
use crate::s3_settings::S3Settings;
use crate::secret::Secret;

/// Reads the files of a log or of a witness.
#[async_trait]
pub(super) trait Source: Send + Sync + 'static {
    /// Returns the location, without secrets.
    fn place(&self) -> &str;

    /// Returns a file of at most `limit` bytes; `None` if the place reports that there is none.
    async fn get(&self, path: &str, limit: usize) -> Result<Option<Bytes>, Failure>;
}

/// How to reach places over HTTP.
#[derive(Clone, Debug)]
pub(super) struct Access {
    pub(super) token: Option<Secret>,
    pub(super) ca: Option<PathBuf>,
    pub(super) timeout: Duration,
}

/// Opens a location: `http://`, `https://`, `s3://BUCKET/PREFIX` or `folder:PATH`.
pub(super) async fn open(url: &str, access: Access, s3: &S3Settings) -> Result<Arc<dyn Source>, Error> {
    if url.starts_with("http://") || url.starts_with("https://") {
        let Access { token, ca, timeout } = access;
        let settings = ClientSettings { token, ca, timeout, ..ClientSettings::new(url) };
        return Ok(Arc::new(Http(Client::new(settings)?)));
    }
    let wrong = |problem: String| Error::Config(format!("{url:?}: {problem}"));
    let url = match url.strip_prefix("folder:") {
        Some(path) => {
            let path =
                std::path::absolute(path).map_err(|error| Error::unusable(format!("{url:?}"), error))?;
            format!("folder:{}", path.display())
        }
        None if url.starts_with("s3://") => url.to_owned(),
        None => {
            let expected = "expected the URL of a log: http://, https://, s3://BUCKET/PREFIX or folder:PATH";
            return Err(wrong(expected.to_owned()));
        }
    };
    let opened = objects::open(&url, s3, Component::TransparencyLog);
    let waited = tokio::time::timeout(access.timeout, opened).await;
    let objects = waited.map_err(|_| wrong("no response in time".to_owned()))??;
    Ok(Arc::new(Files { objects, timeout: access.timeout }))
}

struct Http(Client);

#[async_trait]
impl Source for Http {
    fn place(&self) -> &str {
        self.0.url()
    }

    async fn get(&self, path: &str, limit: usize) -> Result<Option<Bytes>, Failure> {
        let failed = |problem: String| Failure::new(self.place(), format!("{path}: {problem}"));
        let response = self.0.get(path, limit).await.map_err(|error| match error {
            Error::Service { detail, .. } => failed(detail),
            other => failed(describe(&other)),
        })?;
        match response.status {
            200 => Ok(Some(response.body)),
            404 | 410 => Ok(None),
            status => Err(failed(format!("HTTP status {status}"))),
        }
    }
}

struct Files {
    objects: Arc<dyn Objects>,
    timeout: Duration,
}

#[async_trait]
impl Source for Files {
    fn place(&self) -> &str {
        self.objects.place()
    }

    async fn get(&self, path: &str, limit: usize) -> Result<Option<Bytes>, Failure> {
        let failed = |problem: String| Failure::new(self.place(), format!("{path}: {problem}"));
        let reading = self.objects.get_at_most(path, limit as u64);
        let seconds = self.timeout.as_secs();
        let found = tokio::time::timeout(self.timeout, reading).await;
        let found = found.map_err(|_| failed(format!("no response within {seconds} seconds")))?;
        found.map_err(|error| failed(error.describe()))
    }
}
