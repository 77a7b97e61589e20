//! TLS of clients: trusted authorities, client certificates, PEM files, and one cryptography provider for all
//! connections.

use std::path::Path;
use std::sync::Arc;

use edgesentry_formats::read_file;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::error::Error;

/// The maximum size of a PEM file: some thousand certificates.
const MAX_PEM_BYTES: u64 = 16 << 20;

/// Makes `ring` the provider of rustls, unless the program has chosen another.
pub fn install_provider() {
    // An error means that a provider is installed already, which is sufficient.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Returns the TLS settings of a client: it trusts `ca`, or else the authorities of the system, and shows `identity`.
///
/// # Errors
/// A file cannot be read, or holds no certificate or key that can be used.
pub fn client_config(ca: Option<&Path>, identity: Option<(&Path, &Path)>) -> Result<ClientConfig, Error> {
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

/// Like [`client_config`], with loaded authorities.
///
/// # Errors
/// A file cannot be read, or holds no certificate or key that can be used.
pub fn client_config_of(
    roots: RootCertStore,
    identity: Option<(&Path, &Path)>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| Error::internal("rustls has none of the TLS versions", error))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(certificate)?;
    let read = private_key(key).map_err(|problem| Error::Config(format!("{}: {problem}", key.display())))?;
    builder
        .with_client_auth_cert(chain, read)
        .map_err(|error| Error::unusable(key.display().to_string(), error))
}

/// Reads the private key of a PEM file that other users cannot read. As in PostgreSQL, a group may read a file of root.
///
/// # Errors
/// The file cannot be read, holds no key, or can be read by others.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let file = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let allowed = if file.uid() == 0 { 0o740 } else { 0o700 };
        if file.mode() & 0o777 & !allowed != 0 {
            let mode = file.mode() & 0o777;
            return Err(format!(
                "other users can read this private key (mode {mode:04o}); run chmod 600 on it, or chmod 640 if root \
                 owns it"
            ));
        }
    }
    let bytes = Zeroizing::new(read_file(path, MAX_PEM_BYTES).map_err(|error| error.to_string())?);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| error.to_string())
}

/// Reads the certificates of a PEM file, which must hold at least one.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = read_file(path, MAX_PEM_BYTES)
        .map_err(pem::Error::Io)
        .and_then(|bytes| CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>());
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(Error::Config(format!("{}: it contains no certificate", path.display()))),
        Err(error) => Err(Error::unusable(format!("{}: cannot read certificates", path.display()), error)),
    }
}

/// Reads the authorities of a PEM file.
///
/// # Errors
/// The file cannot be read, or holds no authority that can be used.
pub fn authorities(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| Error::unusable(path.display().to_string(), error))?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beyond_the_limit_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.pem");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(MAX_PEM_BYTES + 1).unwrap();
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let problem = format!("more than {MAX_PEM_BYTES} bytes, which is the limit");
        assert_eq!(private_key(&path).unwrap_err(), problem);
        let error = certificates(&path).unwrap_err();
        assert!(crate::error::describe(&error).contains(&problem), "{}", crate::error::describe(&error));
        assert!(authorities(&path).is_err());
    }
}
