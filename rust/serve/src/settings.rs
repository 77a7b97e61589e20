//! `[serve]`: addresses, access control, and limits per caller.
//!
//! ```toml
//! [serve]
//! listen = ["0.0.0.0:8443"]
//! allow = ["10.20.0.0/16", "2001:db8::/32"]
//!
//! [serve.tls]
//! certificate = "/etc/eds/tls/server.pem"
//! key = "/etc/eds/tls/server.key"
//! client_ca = "/etc/eds/tls/devices-ca.pem"
//!
//! [serve.tokens.auditor]
//! hash = "2cd7…"
//! scopes = ["read"]
//! ```

mod console;
mod mqtt;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use edgesentry_chain::Hash;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

pub use self::console::ConsoleSettings;
pub use self::mqtt::MqttSettings;
use super::scope::Scope;
use edgesentry_rs::Error;
use edgesentry_rs::settings::{Settings, list};

/// The settings of `eds serve`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeSettings {
    /// Addresses to listen on; port 0 takes a free one.
    #[serde(deserialize_with = "list")]
    pub listen: Vec<SocketAddr>,
    /// Networks whose addresses may connect. All others are rejected before TLS begins.
    #[serde(deserialize_with = "list")]
    pub allow: Vec<IpNet>,
    /// TLS; without it the service speaks plain HTTP.
    pub tls: Option<TlsSettings>,
    /// An MQTT broker as a further source of records.
    pub mqtt: Option<MqttSettings>,
    /// The pages for people.
    pub console: ConsoleSettings,
    /// Tokens by name.
    pub tokens: BTreeMap<String, TokenSettings>,
    /// Limits on resources.
    pub limits: ServeLimits,
    /// Limits on rates.
    pub rate: RateSettings,
}

impl Default for ServeSettings {
    fn default() -> ServeSettings {
        ServeSettings {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8080))],
            allow: vec![
                IpNet::from(ipnet::Ipv4Net::new_assert([127, 0, 0, 0].into(), 8)),
                IpNet::from(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::LOCALHOST, 128)),
            ],
            tls: None,
            mqtt: None,
            console: ConsoleSettings::default(),
            tokens: BTreeMap::new(),
            limits: ServeLimits::default(),
            rate: RateSettings::default(),
        }
    }
}

/// Certificates of the service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file: the certificate of the service, then its chain.
    pub certificate: PathBuf,
    /// PEM file: its private key.
    pub key: PathBuf,
    /// PEM file of the authorities of devices. With it devices show certificates, and a record must be of a device that
    /// its sender's certificate names.
    #[serde(default)]
    pub client_ca: Option<PathBuf>,
    /// True if a client certificate is required; otherwise a connection without one may still read, or ingest with a
    /// token.
    #[serde(default)]
    pub require_client_certificate: bool,
    /// Seconds between two checks of the files; changed ones are loaded.
    #[serde(default = "reload_seconds")]
    pub reload_seconds: u64,
}

fn reload_seconds() -> u64 {
    5
}

/// A token, stored as its hash.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSettings {
    /// BLAKE3 of the token; `eds token` creates both.
    #[serde(deserialize_with = "token_hash")]
    pub hash: Hash,
    /// The permissions of the token.
    #[serde(deserialize_with = "list")]
    pub scopes: Vec<Scope>,
    /// With the scope `ingest`: only records of these devices; empty for all.
    #[serde(default, deserialize_with = "list")]
    pub devices: Vec<String>,
}

/// Parses the hash of a token. An error does not quote the text: it may be the token.
fn token_hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong =
        |_| serde::de::Error::custom("expected a token hash of 64 hex digits, as `eds token` prints it");
    text.parse().map_err(wrong)
}

/// Limits on the resources that callers can hold, and for how long. Of handshakes, requests, bodies, responses, batches,
/// exports and proofs one caller may hold no more than is left for others: half if it is alone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeLimits {
    /// The largest body of a single record, and the longest line of a batch, after decompression.
    pub body_bytes: usize,
    /// The largest batch, after decompression.
    pub batch_bytes: u64,
    /// Records of one batch.
    pub batch_records: u64,
    /// Batches in progress at once.
    pub batches: usize,
    /// Exports in progress at once.
    pub exports: usize,
    /// Proofs of the transparency log in the making at once.
    pub proofs: usize,
    /// Bytes of bodies held at once, of single records and of batches, over all connections.
    pub memory_bytes: usize,
    /// Bytes of responses held at once until they are taken, over all connections.
    pub answer_bytes: usize,
    /// Requests in progress at once, over all connections.
    pub requests: usize,
    /// Connections at once.
    pub connections: usize,
    /// Connections of one address (IPv6: one /64) at once.
    pub connections_per_address: usize,
    /// TLS handshakes at once.
    pub handshakes: usize,
    /// Seconds that a TLS handshake may take.
    pub handshake_seconds: u64,
    /// Bytes of a request's headers.
    pub header_bytes: usize,
    /// Seconds in which the next request must arrive with all its headers; also the lifetime of an idle connection.
    pub header_seconds: u64,
    /// Seconds that a body, or a piece of a response, may stall.
    pub stall_seconds: u64,
    /// Requests at once on one HTTP/2 connection.
    pub streams: u32,
    /// Seconds that requests in progress may take to finish at shutdown.
    pub shutdown_seconds: u64,
}

impl Default for ServeLimits {
    fn default() -> ServeLimits {
        ServeLimits {
            body_bytes: 16 << 20,
            batch_bytes: 1 << 30,
            batch_records: 100_000,
            batches: 16,
            exports: 4,
            proofs: 16,
            memory_bytes: 512 << 20,
            answer_bytes: 128 << 20,
            requests: 4096,
            connections: 16_384,
            connections_per_address: 4096,
            handshakes: 256,
            handshake_seconds: 10,
            header_bytes: 64 << 10,
            header_seconds: 30,
            stall_seconds: 30,
            streams: 128,
            shutdown_seconds: 30,
        }
    }
}

impl ServeLimits {
    pub(super) fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds.max(1))
    }

    pub(super) fn header(&self) -> Duration {
        Duration::from_secs(self.header_seconds.max(1))
    }

    pub(super) fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_seconds.max(1))
    }

    pub(super) fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds)
    }
}

/// Rate limits of one device or sender.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateSettings {
    /// Records per second in the long run; 0 for no limit.
    pub records_per_second: u32,
    /// Records at once; by default ten seconds' worth.
    pub burst: Option<u32>,
    /// Rejections per second of one sender and device in the long run, over HTTP and MQTT; 0 for no limit. Devices that
    /// are not registered count as one, and a sender may have ten times as many in all.
    pub rejections_per_second: u32,
    /// Rejections at once.
    pub rejection_burst: u32,
    /// Entry bundles of the transparency log per second in the long run, for the proofs of one sender; 0 for no limit.
    pub bundles_per_second: u32,
    /// Entry bundles at once.
    pub bundle_burst: u32,
}

impl Default for RateSettings {
    fn default() -> RateSettings {
        RateSettings {
            records_per_second: 0,
            burst: None,
            rejections_per_second: 10,
            rejection_burst: 1000,
            bundles_per_second: 1000,
            bundle_burst: 20_000,
        }
    }
}

impl ServeSettings {
    /// Parses the section `[serve]` of the settings.
    ///
    /// # Errors
    /// Fails if a value is wrong or a key is unknown.
    pub fn of(settings: &Settings) -> Result<ServeSettings, Error> {
        settings.serve.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(toml: &str) -> Result<ServeSettings, Error> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("eds.toml");
        std::fs::write(&file, toml).unwrap();
        ServeSettings::of(&Settings::load(Some(&file), &Default::default())?)
    }

    #[test]
    fn the_section_is_optional() {
        assert_eq!(read("").unwrap(), ServeSettings::default());
        assert_eq!(read("[serve.rate]\nburst = 7").unwrap().rate.burst, Some(7));
    }

    #[test]
    fn unknown_keys_are_refused_with_their_place_and_without_secrets() {
        for toml in [
            "[serve]\nlisen = [\"127.0.0.1:1\"]",
            "[serve.tokens.a]\nhash = \"hush\"\nscopes = [\"read\"]",
            "[serve.tokens.a]\nscopes = [\"hush\"]",
        ] {
            let error = read(toml).unwrap_err().to_string();
            assert!(error.contains("eds.toml"), "{error}");
            assert!(!error.contains("hush") && !error.contains('\n'), "{error}");
        }
    }
}
