//! Who a caller is, and what it may send.

use std::net::IpAddr;
use std::sync::Arc;

use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::tokens::Token;

/// URIs of this form in a certificate name a device whose id is no DNS name.
pub(super) const DEVICE_URI: &str = "urn:edgesentry:device:";

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// The devices that its certificate names; none without a certificate.
    pub(super) devices: Option<Arc<[String]>>,
}

/// Who sends records.
#[derive(Clone, Debug)]
pub(super) enum Sender {
    /// Somebody whom the network policy let in; the signature of the record says who made it.
    Anybody,
    /// The holder of a certificate of these devices.
    Certificate(Arc<[String]>),
    /// The holder of a token.
    Token(Arc<Token>),
}

impl Sender {
    /// Whether it may send records of a device.
    pub(super) fn may_send(&self, device_id: &str) -> bool {
        match self {
            Sender::Anybody => true,
            Sender::Certificate(devices) => devices.iter().any(|device| device == device_id),
            Sender::Token(token) => token.may_send(device_id),
        }
    }

    /// Whether it is known who it is.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self, Sender::Anybody)
    }
}

/// The devices that a certificate names: DNS names and URIs `urn:edgesentry:device:ID` (percent-encoded) of its
/// subject alternative name; where it has neither, the common name of its subject.
pub(super) fn devices_of(certificate: &[u8]) -> Arc<[String]> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Arc::new([]) };
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
    let named = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::URI(uri) => percent_decoded(uri.strip_prefix(DEVICE_URI)?),
        _ => None,
    });
    let devices: Arc<[String]> = named.collect();
    if !devices.is_empty() {
        return devices;
    }
    let common_names = certificate.subject().iter_common_name();
    common_names.filter_map(|name| name.as_str().ok().map(str::to_owned)).collect()
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = tail.get(..2)?;
            bytes.extend(hex::decode(digits).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn devices(common_name: &str, uris: &[&str], dns: &[&str]) -> Vec<String> {
        let mut params =
            CertificateParams::new(dns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        devices_of(certificate.der()).to_vec()
    }

    #[test]
    fn a_certificate_names_devices_by_san_or_else_by_common_name() {
        assert_eq!(devices("lift-01", &[], &[]), ["lift-01"]);
        assert_eq!(devices("lift-01", &[], &["lift-02", "lift-03"]), ["lift-02", "lift-03"]);
        assert_eq!(devices("x", &["urn:edgesentry:device:lift%2F01%20%C3%A4"], &[]), ["lift/01 ä"]);
        // A URI of somebody else names no device, and one that cannot be decoded neither.
        assert_eq!(devices("lift-01", &["https://lift-09"], &[]), ["lift-01"]);
        assert_eq!(devices("lift-01", &["urn:edgesentry:device:%f"], &[]), ["lift-01"]);
        assert!(devices_of(b"no certificate").is_empty());
    }
}
