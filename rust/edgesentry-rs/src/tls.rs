//! One provider of cryptography for every TLS connection.

/// Makes `ring` the provider of rustls, unless the program has chosen another before.
pub(crate) fn install_provider() {
    // An error says that one is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
