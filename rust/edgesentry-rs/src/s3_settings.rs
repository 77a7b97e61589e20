//! `[s3]`: how to reach S3.

use serde::Deserialize;

use crate::secret::Secret;

/// Settings of the S3 connection. Unset values come from the usual AWS chain: environment, profile, instance.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Settings {
    /// The server, such as `http://127.0.0.1:8333`; AWS by default.
    pub endpoint: Option<String>,
    /// The region; `us-east-1` if an endpoint is set and no region.
    pub region: Option<String>,
    /// True if the bucket is in the path and not in the host name; by default true if an endpoint is set.
    pub path_style: Option<bool>,
    /// With `secret_access_key`: credentials, instead of the usual chain.
    pub access_key_id: Option<String>,
    /// See `access_key_id`.
    pub secret_access_key: Option<Secret>,
    /// The timeout of one attempt in seconds.
    pub timeout_seconds: u64,
    /// The number of attempts of a request.
    pub attempts: u32,
}

impl Default for S3Settings {
    fn default() -> S3Settings {
        S3Settings {
            endpoint: None,
            region: None,
            path_style: None,
            access_key_id: None,
            secret_access_key: None,
            timeout_seconds: 10,
            attempts: 3,
        }
    }
}

/// Returns the bucket and the key in the URL of objects, which has the scheme `s3`, or that of an engine on the JVM.
pub fn path_of_url(url: &str) -> Option<&str> {
    ["s3://", "s3a://", "s3n://"].iter().find_map(|scheme| url.strip_prefix(scheme))
}
