//! TLS of the service: certificates that are loaded again when their files change.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tracing::{info, warn};

use super::settings::TlsSettings;
use crate::error::Error;

/// The TLS settings of now.
pub(super) struct ServerTls {
    settings: TlsSettings,
    current: ArcSwap<ServerConfig>,
}

impl ServerTls {
    pub(super) fn load(settings: &TlsSettings) -> Result<ServerTls, Error> {
        let current = ArcSwap::from_pointee(config(settings)?);
        Ok(ServerTls { settings: settings.clone(), current })
    }

    /// What the next handshake uses.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Loads the files again; where that fails, what was loaded before stays.
    pub(super) fn reload(&self) -> Result<(), Error> {
        self.current.store(Arc::new(config(&self.settings)?));
        info!(certificate = %self.settings.certificate.display(), "certificates loaded again");
        Ok(())
    }

    /// Looks at the files for ever and loads them when they have changed.
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
                // Perhaps half written; tried again at the next look, told of once.
                Err(error) if failed.as_ref() != Some(&stamp) => {
                    warn!(error = %error, "changed certificates cannot be loaded; the old ones stay in use");
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

fn config(settings: &TlsSettings) -> Result<ServerConfig, Error> {
    let wrong = |path: &Path, problem: &dyn std::fmt::Display| {
        Error::Config(format!("serve.tls: {}: {problem}", path.display()))
    };
    let TlsSettings { certificate, key, client_ca, require_client_certificate, .. } = settings;
    let chain = certificates(certificate)?;
    let private_key = private_key(key).map_err(|problem| wrong(key, &problem))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Error::Config(format!("serve.tls: {error}")))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            if !require_client_certificate {
                verifier = verifier.allow_unauthenticated();
            }
            builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong(path, &error))?)
        }
    };
    let mut config =
        builder.with_single_cert(chain, private_key).map_err(|error| wrong(certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A resumed session would keep the rights of a certificate whose authority is no longer trusted.
    if client_ca.is_some() {
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// What a client trusts, `ca` or else the authorities of the system, and its own certificate and key.
pub(super) fn client_config(
    ca: Option<&Path>,
    identity: Option<(&Path, &Path)>,
) -> Result<ClientConfig, Error> {
    let roots = match ca {
        Some(path) => authorities(path)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    client_config_of(roots, identity)
}

/// [`client_config`] with authorities at hand.
pub(super) fn client_config_of(
    roots: RootCertStore,
    identity: Option<(&Path, &Path)>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Error::Config(format!("tls: {error}")))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let wrong = |error: &dyn std::fmt::Display| Error::Config(format!("{}: {error}", key.display()));
    let key = private_key(key).map_err(|problem| wrong(&problem))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| wrong(&error))
}

/// The private key of a PEM file that nobody else can read. As PostgreSQL does, a file of root may be readable by a group.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let allowed = if file.uid() == 0 { 0o740 } else { 0o700 };
        if file.mode() & 0o777 & !allowed != 0 {
            let mode = file.mode() & 0o777;
            return Err(format!(
                "others may read this private key (mode {mode:04o}); run chmod 600 on it, or chmod 640 if it is root's"
            ));
        }
    }
    PrivateKeyDer::from_pem_file(path).map_err(|error| error.to_string())
}

/// The certificates of a PEM file, of which there must be one at least.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::Config(format!("{}: there is no certificate in it", path.display()))),
        Err(error) => Err(Error::Config(format!("{}: cannot read certificates: {error}", path.display()))),
    }
}

/// The authorities of a PEM file.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| Error::Config(format!("{}: {error}", path.display())))?;
    }
    Ok(roots)
}
