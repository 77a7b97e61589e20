//! Requests to monitoring servers.

use std::time::Duration;

use edgesentry_formats::describe;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::error::ServerError;

/// The timeout of a response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response, in bytes.
const MAX_RESPONSE_BYTES: usize = 16 << 20;

/// Returns the body of a successful response to a GET.
pub(super) async fn get(url: &str) -> Result<Bytes, ServerError> {
    match tokio::time::timeout(RESPONSE_TIMEOUT, fetch(url)).await {
        Ok(answer) => answer,
        Err(_) => Err(failed(url, format!("no response within {} s", RESPONSE_TIMEOUT.as_secs()))),
    }
}

/// Returns the JSON of a successful response to a GET.
pub(super) async fn get_json(url: &str) -> Result<Value, ServerError> {
    let body = get(url).await?;
    serde_json::from_slice(&body).map_err(|error| failed(url, format!("the response is not JSON: {error}")))
}

pub(super) fn failed(url: &str, problem: impl Into<String>) -> ServerError {
    ServerError::Request { url: url.to_owned(), problem: problem.into() }
}

async fn fetch(url: &str) -> Result<Bytes, ServerError> {
    let uri: hyper::Uri = url.parse().map_err(|error| failed(url, format!("not a URL: {error}")))?;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let answer = client.get(uri).await.map_err(|error| failed(url, describe(&error)))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), MAX_RESPONSE_BYTES).collect().await;
    let body = body.map_err(|error| failed(url, describe(&*error)))?.to_bytes();
    if status.is_success() {
        Ok(body)
    } else {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        Err(failed(url, format!("returns {status}: {text}")))
    }
}
