//! The buckets of payloads and of the archive: their set-up, and checks of their protection.
//!
//! Versions alone protect nothing: a version can be deleted for good. Object Lock in mode COMPLIANCE protects it from
//! every user until its retention ends.

mod check;
mod policy;
mod setup;
mod versions;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use edgesentry_formats::describe;
use edgesentry_rs::payload::S3Settings;

use crate::error::Error;

pub use check::check;
pub use policy::{Policy, policies};
pub use setup::{Replication, Setup, Step};

/// The content of a bucket. Exhaustive: each has its own rules of protection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// Payloads: never deleted.
    Payloads,
    /// Base backups, dumps and write-ahead log: retention deletes the old ones.
    Archive,
}

/// A bucket and its server.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    name: String,
    settings: S3Settings,
}

impl Bucket {
    /// Returns a bucket by its name; sends no request yet.
    ///
    /// # Errors
    /// The name is not one of a bucket, or the settings cannot be used.
    pub async fn new(name: &str, settings: &S3Settings) -> Result<Bucket, Error> {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
        if !(3..=63).contains(&name.len()) || !name.bytes().all(good) {
            return Err(Error::Config(format!(
                "expected a bucket name of 3 to 63 lower-case letters, digits, dots and hyphens, got {name:?}"
            )));
        }
        Ok(Bucket { client: settings.client().await?, name: name.to_owned(), settings: settings.clone() })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its location, without secrets.
    pub fn place(&self) -> String {
        match &self.settings.endpoint {
            Some(endpoint) => format!("s3://{} at {endpoint}", self.name),
            None => format!("s3://{}", self.name),
        }
    }

    fn failed(&self, what: &str, refusal: &Refusal) -> Error {
        Error::Server { server: self.place(), problem: format!("cannot {what}: {refusal}") }
    }
}

/// Why a request failed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Refusal {
    /// The HTTP status; 0 if there was no response.
    status: u16,
    /// The code of the error, such as `AccessDenied`.
    code: String,
    /// The message.
    said: String,
}

impl Refusal {
    fn of<E>(error: &SdkError<E>) -> Refusal
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let status = error.raw_response().map_or(0, |response| response.status().as_u16());
        let code = error.code().unwrap_or_default().to_owned();
        let said = match error.message() {
            Some(said) => said.to_owned(),
            None => describe(error),
        };
        Refusal { status, code, said }
    }

    /// Returns true if the store does not support this part of S3.
    fn is_unsupported(&self) -> bool {
        self.status == 501
            || self.status == 405
            || ["NotImplemented", "MethodNotAllowed"].contains(&&*self.code)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.status, self.code.as_str()) {
            (0, _) => f.write_str(&self.said),
            (status, "") => write!(f, "HTTP {status}: {}", self.said),
            (status, code) => write!(f, "HTTP {status} {code}: {}", self.said),
        }
    }
}
