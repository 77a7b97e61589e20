//! The stamps of tests/vectors/timestamps, which tests/timestamps.py makes, and their damage.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use edgesentry_timestamp::{
    CertificatesError, ClaimedCertificates, Expected, MAX_CERTIFICATES_BYTES, Stamp, StampError,
    StampProblem, StampRequest, TrustedRoots, verify_stamp,
};
use serde_json::Value;

fn file(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/timestamps");
    std::fs::read(folder.join(name)).unwrap()
}

fn expected() -> (Value, [u8; 32]) {
    let expected: Value = serde_json::from_slice(&file("expected.json")).unwrap();
    let imprint = expected["imprint"].as_str().unwrap().as_bytes().chunks(2);
    let bytes = imprint.map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
    let imprint = bytes.collect::<Vec<u8>>().try_into().unwrap();
    (expected["stamps"].clone(), imprint)
}

fn verified(case: &Value, imprint: [u8; 32], stamp: &[u8]) -> Result<Stamp, StampError> {
    let roots = TrustedRoots::from_pem(&file(case["roots"].as_str().unwrap())).unwrap();
    let claimed = case["claimed"].as_str().map(|name| ClaimedCertificates::from_pem(&file(name)).unwrap());
    let nonce = case["nonce"].as_str().map(|nonce| nonce.parse().unwrap());
    verify_stamp(stamp, &Expected { imprint, nonce }, &roots, &claimed.unwrap_or_default())
}

#[test]
fn vectors_have_the_reasons_beside_them() {
    let (cases, imprint) = expected();
    let mut seen = std::collections::HashSet::new();
    for case in cases.as_array().unwrap() {
        let name = case["stamp"].as_str().unwrap();
        match verified(case, imprint, &file(name)) {
            Ok(stamp) => {
                assert_eq!(case["reason"], Value::Null, "{name}");
                assert_eq!(case["before_ms"], stamp.before_ms, "{name}");
                assert_eq!(case["authority"], stamp.authority, "{name}");
            }
            Err(error) => {
                assert_eq!(case["reason"], error.problem.code(), "{name}: {error}");
                seen.insert(error.problem);
            }
        }
    }
    assert_eq!(seen.len(), 11, "each reason has a stamp");
    assert!(seen.contains(&StampProblem::Untrusted));
}

#[test]
fn no_changed_byte_of_a_signed_part_passes() {
    let (cases, imprint) = expected();
    let case = &cases[0];
    let stamp = file("good.tsr");
    let whole = verified(case, imprint, &stamp).unwrap();
    let mut passed = 0;
    for at in 0..stamp.len() {
        let mut changed = stamp.clone();
        changed[at] ^= 1;
        if let Ok(found) = verified(case, imprint, &changed) {
            assert_eq!(found, whole, "byte {at}");
            passed += 1;
        }
    }
    // The versions and the list of digest algorithms are not signed, and not used.
    assert!(passed < 24, "{passed}");
}

#[test]
fn no_part_of_a_stamp_panics() {
    let (cases, imprint) = expected();
    for case in cases.as_array().unwrap().iter().step_by(8) {
        let stamp = file(case["stamp"].as_str().unwrap());
        for end in (0..stamp.len()).step_by(7) {
            assert!(verified(case, imprint, &stamp[..end]).is_err());
        }
    }
}

#[test]
fn a_request_is_der() {
    let request = StampRequest { imprint: [7; 32], nonce: u64::MAX }.to_der();
    let head =
        [0x30, 0x44, 2, 1, 1, 0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0];
    assert_eq!(request[..head.len()], head);
    let nonce = [2, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1, 255];
    assert_eq!(request[request.len() - nonce.len()..], nonce);
}

#[test]
fn files_of_certificates_are_pem() {
    let (cases, _) = expected();
    let good = String::from_utf8(file(cases[0]["roots"].as_str().unwrap())).unwrap();
    let refused = |text: &str| TrustedRoots::from_pem(text.as_bytes()).unwrap_err();
    TrustedRoots::from_pem(good.replace('\n', " \t\r\n").as_bytes()).unwrap();
    TrustedRoots::from_pem(format!("subject: a root\n\n{good}\n-----BEGIN X-----\n").as_bytes()).unwrap();
    assert_eq!(refused(""), CertificatesError::Empty);
    assert_eq!(refused(&good[..good.len() - 26]), CertificatesError::Malformed(1));
    assert_eq!(refused(&good.replacen("MII", "M!I", 1)), CertificatesError::Malformed(2));
    assert!(matches!(refused(&good.replacen("MII", "MIII", 1)), CertificatesError::Malformed(_)));
    assert_eq!(refused(&good.repeat(65)), CertificatesError::TooLarge);
    assert_eq!(refused(&" ".repeat(MAX_CERTIFICATES_BYTES + 1)), CertificatesError::TooLarge);
    let empty = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
    assert!(matches!(refused(&format!("{good}{empty}")), CertificatesError::Unusable { number: 2, .. }));
    let signer = cases.as_array().unwrap().iter().find(|case| case["stamp"] == "signer-claimed.tsr").unwrap();
    let signer = file(signer["claimed"].as_str().unwrap());
    assert_eq!(TrustedRoots::from_pem(&signer).unwrap_err(), CertificatesError::NoRoot);
    assert!(ClaimedCertificates::from_pem(empty.as_bytes()).is_ok(), "left out");
}
