//! S3 clients, also for compatible servers: for payloads and for archives.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bytes::{Bytes, BytesMut};
use url::Url;

use crate::error::{BoxError, Error, FailureKind};
use crate::loopback::is_loopback;
use crate::s3_settings::S3Settings;
use crate::tls;

impl S3Settings {
    /// Creates a client for all S3 operations; it does not connect yet.
    pub async fn client(&self) -> Result<Client, Error> {
        client(self, self.timeout()).await
    }

    /// Returns the timeout of one attempt.
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.max(1))
    }

    /// Returns a URL as a location, with the server if it is not AWS.
    pub(crate) fn place(&self, url: &str) -> String {
        self.endpoint.as_ref().map_or_else(|| url.to_owned(), |endpoint| format!("{url} at {endpoint}"))
    }
}

/// Creates a client whose attempts may each take `timeout`.
pub(crate) async fn client(settings: &S3Settings, timeout: Duration) -> Result<Client, Error> {
    tls::install_provider();
    let attempts = settings.attempts.max(1);
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(timeout.min(Duration::from_secs(3)))
        .operation_attempt_timeout(timeout)
        .operation_timeout(timeout * attempts)
        .build();
    let proxies = proxies(settings);
    let http = aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().pool_idle_timeout(Duration::from_secs(20));
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
        connector.tls_provider(Provider::Rustls(CryptoMode::Ring)).proxy_config(proxies.clone()).build()
    });
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(attempts));
    if let Some(endpoint) = &settings.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let region =
        settings.region.clone().or_else(|| settings.endpoint.is_some().then(|| "us-east-1".to_owned()));
    if let Some(region) = region {
        loader = loader.region(Region::new(region));
    }
    match (&settings.access_key_id, &settings.secret_access_key) {
        (Some(id), Some(secret)) => {
            let credentials = Credentials::new(id, secret.reveal(), None, None, "settings");
            loader = loader.credentials_provider(credentials);
        }
        (None, None) => {}
        _ => {
            let message = "s3: access_key_id and secret_access_key are set together, or neither is";
            return Err(Error::Config(message.to_owned()));
        }
    }
    let path_style = settings.path_style.unwrap_or(settings.endpoint.is_some());
    let config = aws_sdk_s3::config::Builder::from(&loader.load().await).force_path_style(path_style);
    Ok(Client::from_conf(config.build()))
}

/// Returns the proxies that the environment names. A server on this machine is always reached directly.
fn proxies(settings: &S3Settings) -> ProxyConfig {
    let endpoint = settings.endpoint.as_ref().and_then(|endpoint| Url::parse(endpoint).ok());
    if endpoint.is_some_and(|endpoint| is_loopback(&endpoint)) {
        ProxyConfig::disabled()
    } else {
        ProxyConfig::from_env()
    }
}

/// The error for a missing bucket.
const NO_BUCKET: &str = "there is no such bucket; look at its name and at the endpoint";

/// Returns why a bucket cannot be reached: the response to a HEAD request has no body.
pub(crate) fn unreachable<E>(error: SdkError<E>) -> (FailureKind, BoxError)
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) {
        return (FailureKind::Setup, format!("HTTP 404: {NO_BUCKET}").into());
    }
    reason(error)
}

/// Returns why a request failed, and how long the failure lasts.
pub(crate) fn reason<E>(error: SdkError<E>) -> (FailureKind, BoxError)
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => (FailureKind::Setup, Box::new(error)),
        SdkError::ServiceError(service) => {
            let status = service.raw().status().as_u16();
            let error = service.into_err();
            let text = match (error.code(), error.message()) {
                (Some("NoSuchBucket"), _) => NO_BUCKET.to_owned(),
                (Some(code), Some(message)) => format!("{code}: {message}"),
                _ => crate::error::describe(&error),
            };
            (failure(status, error.code()), format!("HTTP {status}: {text}").into())
        }
        error => (FailureKind::Passing, Box::new(error)),
    }
}

/// Returns how long a failure lasts: by its code, else by its status. Codes:
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>; those that begin with X are of MinIO.
fn failure(status: u16, code: Option<&str>) -> FailureKind {
    match code.unwrap_or_default() {
        "EntityTooLarge"
        | "InvalidArgument"
        | "InvalidURI"
        | "KeyTooLong"
        | "KeyTooLongError"
        | "XMinioInvalidObjectName" => FailureKind::Item,
        "BadDigest"
        | "ExpiredToken"
        | "IncompleteBody"
        | "QuotaExceeded"
        | "RequestTimeTooSkewed"
        | "RequestTimeout"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TokenRefreshRequired"
        | "XAmzContentSHA256Mismatch"
        | "XMinioStorageFull" => FailureKind::Passing,
        _ => match status {
            413 | 414 => FailureKind::Item,
            408 | 409 | 425 | 429 => FailureKind::Passing,
            // Not implemented, and an unsupported version of HTTP.
            501 | 505 => FailureKind::Setup,
            500.. => FailureKind::Passing,
            _ => FailureKind::Setup,
        },
    }
}

/// Why the body of an object was not read.
pub(crate) enum BodyError {
    /// It has at least this many bytes.
    TooLarge(u64),
    /// It did not arrive in full.
    Broken(BoxError),
}

/// Reads the body of an object of at most `most` bytes, with or without a known length.
pub(crate) async fn body(mut object: GetObjectOutput, most: u64) -> Result<Bytes, BodyError> {
    let said = object.content_length().and_then(|length| u64::try_from(length).ok()).unwrap_or(0);
    if said > most {
        return Err(BodyError::TooLarge(said));
    }
    let mut bytes = BytesMut::with_capacity(usize::try_from(said).unwrap_or(0));
    while let Some(part) = object.body.try_next().await.map_err(|error| BodyError::Broken(error.into()))? {
        let length = (bytes.len() + part.len()) as u64;
        if length > most {
            return Err(BodyError::TooLarge(length));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}

/// Returns Unix milliseconds; 0 if the server does not report a time.
pub(crate) fn milliseconds(time: Option<&DateTime>) -> u64 {
    time.and_then(|time| time.to_millis().ok()).and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_the_status() {
        for (status, code, kind) in [
            (400, Some("KeyTooLongError"), FailureKind::Item),
            (400, Some("EntityTooLarge"), FailureKind::Item),
            (413, None, FailureKind::Item),
            (400, Some("RequestTimeout"), FailureKind::Passing),
            (503, Some("SlowDown"), FailureKind::Passing),
            (500, Some("InternalError"), FailureKind::Passing),
            (409, Some("OperationAborted"), FailureKind::Passing),
            (429, None, FailureKind::Passing),
            (403, Some("AccessDenied"), FailureKind::Setup),
            (404, Some("NoSuchBucket"), FailureKind::Setup),
            (501, Some("NotImplemented"), FailureKind::Setup),
            (400, Some("InvalidRequest"), FailureKind::Setup),
        ] {
            assert_eq!(failure(status, code), kind, "{status} {code:?}");
        }
    }
}
