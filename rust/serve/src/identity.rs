//! The identity of a caller, and what it may send.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::parse_x509_certificate;

use super::policy::caller;
use super::tokens::Token;

/// URIs of this form in a certificate name a device whose id is not a DNS name.
pub(super) const DEVICE_URI: &str = "urn:edgesentry:device:";

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) address: IpAddr,
    /// The devices that its certificate names; none without a certificate.
    pub(super) devices: Option<Arc<[String]>>,
}

/// Identifies a caller in limits and counters: 64 bits, for a name of any length.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SenderKey(u64);

impl SenderKey {
    /// Returns the key of a name. An attacker cannot choose names with equal keys.
    pub(super) fn of(name: impl Hash) -> SenderKey {
        static HASHER: OnceLock<RandomState> = OnceLock::new();
        SenderKey(HASHER.get_or_init(RandomState::new).hash_one(name))
    }

    /// Returns the bits.
    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Returns the key of the holder of a named token.
    pub(super) fn of_token(name: &str) -> SenderKey {
        SenderKey::of(("token", name))
    }

    /// Returns the key of the caller at an address.
    pub(super) fn at(address: IpAddr) -> SenderKey {
        SenderKey::of(("address", caller(address)))
    }
}

/// The sender of records.
#[derive(Clone, Debug)]
pub(super) enum Sender {
    /// An unauthenticated sender that the network policy admits; the signature of the record names its author.
    Anybody,
    /// The holder of a certificate that names these devices.
    Certificate(Arc<[String]>),
    /// The holder of a token.
    Token(Arc<Token>),
}

impl Sender {
    /// Returns true if it may send records of a device.
    pub(super) fn may_send(&self, device_id: &str) -> bool {
        match self {
            Sender::Anybody => true,
            Sender::Certificate(devices) => devices.iter().any(|device| device == device_id),
            Sender::Token(token) => token.may_send(device_id),
        }
    }

    /// Returns the key under which its resources are counted: of its token, its certificate or else its address.
    pub(super) fn key(&self, peer: &Peer) -> SenderKey {
        match self {
            Sender::Anybody => SenderKey::at(peer.address),
            Sender::Certificate(devices) => SenderKey::of(("certificate", devices)),
            Sender::Token(token) => SenderKey::of_token(&token.name),
        }
    }

    /// Returns true if the sender is authenticated.
    pub(super) fn is_known(&self) -> bool {
        !matches!(self, Sender::Anybody)
    }
}

/// Returns the devices that a certificate names: DNS names and URIs `urn:edgesentry:device:ID` (percent-encoded) of its
/// subject alternative name; only without that extension, the common name of its subject. A certificate that cannot be
/// parsed in full names no device.
pub(super) fn devices_of(certificate: &[u8]) -> Arc<[String]> {
    let Ok((_, certificate)) = parse_x509_certificate(certificate) else { return Arc::new([]) };
    let mut extensions =
        certificate.extensions().iter().filter(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
    match (extensions.next(), extensions.next()) {
        (None, _) => {
            let common_names = certificate.subject().iter_common_name();
            common_names.filter_map(|name| name.as_str().ok().map(str::to_owned)).collect()
        }
        (Some(extension), None) => match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => {
                let named: Option<Vec<Option<String>>> = names.general_names.iter().map(device_of).collect();
                named.unwrap_or_default().into_iter().flatten().collect()
            }
            _ => Arc::new([]),
        },
        (Some(_), Some(_)) => Arc::new([]),
    }
}

/// Returns the device that a name stands for, if any; `None` if the name is malformed.
fn device_of(name: &GeneralName<'_>) -> Option<Option<String>> {
    match name {
        GeneralName::DNSName(name) => Some(Some((*name).to_owned())),
        GeneralName::URI(uri) => match uri.strip_prefix(DEVICE_URI) {
            Some(encoded) => percent_decoded(encoded).filter(|id| !id.is_empty()).map(Some),
            None => Some(None),
        },
        GeneralName::Invalid(..) => None,
        _ => Some(None),
    }
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
    fn a_certificate_names_devices_by_san_or_without_one_by_common_name() {
        assert_eq!(devices("lift-01", &[], &[]), ["lift-01"]);
        assert_eq!(devices("lift-01", &[], &["lift-02", "lift-03"]), ["lift-02", "lift-03"]);
        assert_eq!(devices("x", &["urn:edgesentry:device:lift%2F01%20%C3%A4"], &[]), ["lift/01 ä"]);
        assert_eq!(devices("x", &["spiffe://fleet/lift-09"], &["lift-02"]), ["lift-02"]);
        assert!(devices_of(b"no certificate").is_empty());
    }

    #[test]
    fn a_certificate_with_a_san_is_never_known_by_its_common_name() {
        let none: [&str; 0] = [];
        assert_eq!(devices("lift-01", &["https://lift-09"], &[]), none);
        for malformed in ["urn:edgesentry:device:%f", "urn:edgesentry:device:%ff", "urn:edgesentry:device:"] {
            assert_eq!(devices("lift-01", &[malformed], &[]), none, "{malformed}");
            assert_eq!(devices("lift-01", &[malformed], &["lift-02"]), none, "{malformed}");
        }
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "lift-01");
        params.subject_alt_names.push(SanType::IpAddress([10, 0, 0, 1].into()));
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert!(devices_of(certificate.der()).is_empty());
        // An extension that cannot be read, or that occurs twice.
        for copies in [1, 2] {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, "lift-01");
            for _ in 0..copies {
                let san = rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], vec![0x30, 0x7f, 0x86]);
                params.custom_extensions.push(san);
            }
            let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert!(devices_of(certificate.der()).is_empty(), "{copies}");
        }
    }
}
