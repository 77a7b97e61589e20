//! TLS of the service: certificates that are reloaded when their files change.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::WebPkiClientVerifier;
use tracing::{info, warn};

use edgesentry_device::tls::{authorities, certificates, private_key};

use super::settings::TlsSettings;
use edgesentry_rs::error::{BoxError, Error, describe};

/// The target of events; it is part of the interface.
const TARGET: &str = "edgesentry_rs::transport::tls";

/// The current TLS settings.
pub(super) struct ServerTls {
    settings: TlsSettings,
    current: ArcSwap<ServerConfig>,
}

impl ServerTls {
    pub(super) fn load(settings: &TlsSettings) -> Result<ServerTls, Error> {
        let current = ArcSwap::from_pointee(config(settings)?);
        Ok(ServerTls { settings: settings.clone(), current })
    }

    /// Returns the settings of the next handshake.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Loads the files again; on failure the previous settings stay.
    pub(super) fn reload(&self) -> Result<(), Error> {
        self.current.store(Arc::new(config(&self.settings)?));
        info!(target: TARGET, certificate = %self.settings.certificate.display(), "certificates reloaded");
        Ok(())
    }

    /// Watches the files for ever, and loads them when they change.
    pub(super) async fn watch(&self) {
        let mut seen = self.stamp();
        let mut failed = None;
        loop {
            tokio::time::sleep(std::time::Duration::from_secs(self.settings.reload_seconds.max(1))).await;
            let stamp = self.stamp();
            if stamp == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => (seen, failed) = (stamp, None),
                // The file may be incomplete; the next check tries again, and the log reports it once.
                Err(error) if failed.as_ref() != Some(&stamp) => {
                    warn!(target: TARGET, error = %describe(&error), "changed certificates cannot be loaded; the previous ones \
                         stay in use");
                    failed = Some(stamp);
                }
                Err(_) => {}
            }
        }
    }

    fn stamp(&self) -> Vec<Option<(SystemTime, u64)>> {
        let TlsSettings { certificate, key, client_ca, .. } = &self.settings;
        let stamp = |path: &Path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.modified().ok()?, file.len()))
        };
        [Some(certificate), Some(key), client_ca.as_ref()]
            .into_iter()
            .flatten()
            .map(|path| stamp(path))
            .collect()
    }
}

fn wrong(path: &Path, source: impl Into<BoxError>) -> Error {
    Error::unusable(format!("serve.tls: {}", path.display()), source)
}

fn config(settings: &TlsSettings) -> Result<ServerConfig, Error> {
    let TlsSettings { certificate, key, client_ca, require_client_certificate, .. } = settings;
    let chain = certificates(certificate)?;
    let private_key = private_key(key).map_err(|problem| wrong(key, problem))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Error::internal("rustls has none of the TLS versions", error))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if !require_client_certificate {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong(path, error))?)
        }
    };
    let mut config =
        builder.with_single_cert(chain, private_key).map_err(|error| wrong(certificate, error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would keep the rights of a certificate whose authority is no longer trusted.
    if client_ca.is_some() {
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}
