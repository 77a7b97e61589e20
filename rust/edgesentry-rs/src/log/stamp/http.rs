//! Time stamping authorities over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use edgesentry_device::client::{Client, ClientSettings};
use edgesentry_timestamp::MAX_STAMP_BYTES;

use super::StampClient;
use crate::error::{Error, describe};

/// Returns a client of the authority at a URL.
pub(super) fn client(url: &str, timeout: Duration) -> Result<Arc<dyn StampClient>, Error> {
    let (base, path) = split(url);
    let settings = ClientSettings { timeout, response_bytes: MAX_STAMP_BYTES, ..ClientSettings::new(base) };
    Ok(Arc::new(Http { client: Client::new(settings)?, path: path.to_owned() }))
}

/// Splits a URL at the end of its last folder: the client joins both parts.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let query = url.find(['?', '#']).unwrap_or(url.len());
    match url[..query].rfind('/').filter(|slash| *slash >= host) {
        Some(slash) => url.split_at(slash + 1),
        None => (url, ""),
    }
}

struct Http {
    client: Client,
    path: String,
}

#[async_trait]
impl StampClient for Http {
    async fn ask(&self, request: Vec<u8>) -> Result<Vec<u8>, String> {
        let response =
            self.client.request_as("POST", &self.path, "application/timestamp-query", request).await;
        let response = response.map_err(|error| describe(&error))?;
        if response.status != 200 {
            return Err(format!("HTTP status {}", response.status));
        }
        Ok(response.body.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_url_is_split_at_its_last_folder() {
        for (url, base, path) in [
            ("http://tsa.example", "http://tsa.example", ""),
            ("http://tsa.example/", "http://tsa.example/", ""),
            ("https://tsa.example/tsr", "https://tsa.example/", "tsr"),
            ("https://tsa.example:8443/a/b?c=d/e", "https://tsa.example:8443/a/", "b?c=d/e"),
        ] {
            assert_eq!(split(url), (base, path));
        }
    }
}
