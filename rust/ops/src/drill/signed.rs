//! Signed reports. The signature of a report is an audit record of its own beside it, `NAME.json.sig`, with the
//! report as its payload: the program that verifies records verifies reports too. The device of the record separates
//! it from other signatures of the same key.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_chain::{
    Device, Hash, PublicKey, Scheme, SignError, Signed, Signer, signed_message, verify_signature,
};
use edgesentry_formats::{record_from_json, record_to_json};

use crate::error::Error;

/// The device of every signature.
pub const SIGNER: &str = "edgesentry-drill-report";
/// The largest signature that is read.
const MAX_BYTES: u64 = 64 * 1024;

/// The state of a report's signature.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Signature {
    /// There is no signature.
    Missing,
    /// There is a signature, and no key to check it with.
    NotChecked,
    /// The signature was made with the key.
    Valid,
    /// The signature is damaged, of another key or of another report: the reason.
    Invalid(&'static str),
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Signature::Missing => "missing",
            Signature::NotChecked => "not checked",
            Signature::Valid => "valid",
            Signature::Invalid(why) => why,
        })
    }
}

/// Returns the path of a report's signature.
pub fn signature_path(report: &Path) -> PathBuf {
    let mut name = OsString::from(report);
    name.push(".sig");
    name.into()
}

/// Signs the bytes of a report; returns a line of NDJSON.
///
/// # Errors
/// The signer failed.
pub fn sign(signer: Arc<dyn Signer>, name: &str, report: &[u8], at_ms: u64) -> Result<String, Error> {
    let signed = Device::from_signer(SIGNER, signer, Scheme::Record).sign(at_ms, report, name);
    let record = signed.map_err(|error| match error {
        SignError::Signer(error) => edgesentry_rs::Error::Signer(error).into(),
        error => Error::internal("a report cannot be signed", error),
    })?;
    let mut line = Vec::new();
    record_to_json(&record, &mut line);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// Checks the signature beside a report; without a key only its existence.
///
/// # Errors
/// The file of the signature cannot be read. A signature that does not hold is a [`Signature::Invalid`].
pub fn check(path: &Path, report: &[u8], key: Option<&PublicKey>) -> Result<Signature, Error> {
    use std::io::Read as _;
    let file = signature_path(path);
    let mut text = Vec::new();
    match std::fs::File::open(&file) {
        Ok(open) => open.take(MAX_BYTES).read_to_end(&mut text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Signature::Missing),
        Err(error) => Err(error),
    }
    .map_err(Error::io("read the signature", &file))?;
    let Some(key) = key else { return Ok(Signature::NotChecked) };
    let Ok(record) = record_from_json(text.trim_ascii()) else {
        return Ok(Signature::Invalid("its signature is damaged"));
    };
    if record.device_id != SIGNER || record.payload_hash != Hash::of(report) {
        return Ok(Signature::Invalid("its signature is of another report"));
    }
    let message = signed_message(&record, Scheme::Record);
    let holds = verify_signature(&Signed { key, message: &message, signature: &record.signature });
    Ok(if holds { Signature::Valid } else { Signature::Invalid("its signature is of another key") })
}

#[cfg(test)]
mod tests {
    use edgesentry_chain::SeedSigner;

    use super::*;

    fn key(seed: u8) -> PublicKey {
        Device::from_seed(SIGNER, [seed; 32], Scheme::Record).public_key().unwrap()
    }

    #[test]
    fn a_signature_is_of_one_report_and_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpo-1.json");
        let of = |report: &[u8], key: Option<&PublicKey>| check(&path, report, key).unwrap();
        assert_eq!(of(b"{}", Some(&key(7))), Signature::Missing);
        std::fs::write(
            signature_path(&path),
            sign(Arc::new(SeedSigner::new([7; 32]).unwrap()), "rpo-1.json", b"{}", 1).unwrap(),
        )
        .unwrap();
        assert_eq!(of(b"{}", None), Signature::NotChecked);
        assert_eq!(of(b"{}", Some(&key(7))), Signature::Valid);
        assert_eq!(of(b"{}", Some(&key(8))), Signature::Invalid("its signature is of another key"));
        assert_eq!(of(b"{ }", Some(&key(7))), Signature::Invalid("its signature is of another report"));
        std::fs::write(signature_path(&path), "{}").unwrap();
        assert_eq!(of(b"{}", Some(&key(7))), Signature::Invalid("its signature is damaged"));
    }

    #[test]
    fn a_record_of_a_device_is_not_a_signature_of_a_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rpo-1.json");
        let record = Device::from_seed("lift-01", [7; 32], Scheme::Record).sign(1, b"{}", "x").unwrap();
        let mut line = Vec::new();
        record_to_json(&record, &mut line);
        std::fs::write(signature_path(&path), line).unwrap();
        let signature = check(&path, b"{}", Some(&key(7))).unwrap();
        assert_eq!(signature, Signature::Invalid("its signature is of another report"));
    }
}
