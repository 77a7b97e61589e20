//! Time stamps, and files of certificates: a byte selects the format. A valid stamp has the imprint that was expected.

#![no_main]

use edgesentry_fuzz::{bounded, plant};
use edgesentry_timestamp::{ClaimedCertificates, Expected, StampProblem, TrustedRoots, verify_stamp};
use libfuzzer_sys::fuzz_target;

const ROOTS: &[u8] = include_bytes!("../../tests/vectors/timestamps/roots-0.pem");
const EXPECTED: &str = include_str!("../../tests/vectors/timestamps/expected.json");

fuzz_target!(init: plant(edgesentry_fuzz::timestamps()), |input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else { return };
    bounded(|| judge(kind, bytes));
});

fn judge(kind: u8, bytes: &[u8]) {
    if kind.is_multiple_of(4) {
        let trusted = TrustedRoots::from_pem(bytes);
        let claimed = ClaimedCertificates::from_pem(bytes);
        assert!(trusted.is_err() || claimed.is_ok());
        return;
    }
    let (Ok(roots), Some(imprint)) = (TrustedRoots::from_pem(ROOTS), imprint()) else {
        panic!("the vectors are gone");
    };
    let expected = Expected { imprint, nonce: None };
    let none = ClaimedCertificates::default();
    let found = verify_stamp(bytes, &expected, &roots, &none);
    let mut imprint = imprint;
    imprint[0] ^= 1;
    let other = verify_stamp(bytes, &Expected { imprint, nonce: None }, &roots, &none);
    let problem = other.expect_err("a stamp of two imprints").problem;
    assert!(found.is_err() || problem == StampProblem::OtherImprint);
}

fn imprint() -> Option<[u8; 32]> {
    let expected: serde_json::Value = serde_json::from_str(EXPECTED).ok()?;
    hex::decode(expected["imprint"].as_str()?).ok()?.try_into().ok()
}
