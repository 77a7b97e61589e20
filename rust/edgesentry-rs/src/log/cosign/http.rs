//! Witnesses over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_device::client::{Client, ClientSettings};
use edgesentry_log::MAX_WITNESS_RESPONSE_BYTES;

use super::{WitnessClient, WitnessResponse};
use crate::error::{Error, describe};

/// Returns a client of the witness at a URL.
pub(super) fn client(url: &str, timeout: Duration) -> Result<Arc<dyn WitnessClient>, Error> {
    let response_bytes = MAX_WITNESS_RESPONSE_BYTES;
    let client = Client::new(ClientSettings { timeout, response_bytes, ..ClientSettings::new(url) })?;
    Ok(Arc::new(Http(client)))
}

struct Http(Client);

impl Http {
    async fn call(&self, method: &str, path: &str, body: Vec<u8>) -> Result<WitnessResponse, String> {
        let response = self.0.request_as(method, path, "text/plain; charset=utf-8", body).await;
        let response = response.map_err(|error| describe(&error))?;
        Ok(WitnessResponse { status: response.status, body: response.body.to_vec() })
    }
}

#[async_trait]
impl WitnessClient for Http {
    async fn add_checkpoint(&self, request: String) -> Result<WitnessResponse, String> {
        self.call("POST", "add-checkpoint", request.into_bytes()).await
    }

    async fn latest(&self, path: &str) -> Result<WitnessResponse, String> {
        self.call("GET", path, Vec::new()).await
    }
}
