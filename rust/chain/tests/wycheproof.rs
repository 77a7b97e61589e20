//! Every Wycheproof Ed25519 case has its labelled verdict, alone and in one batch with the others.

use edgesentry_chain::{PublicKey, Signed, verify_signature, verify_signatures};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

#[test]
fn every_case_as_labelled() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let mut cases = Vec::new();
    for group in &set.test_groups {
        let bytes: [u8; 32] = group.key.pk[..].try_into().unwrap();
        let key = PublicKey::from_bytes(bytes).unwrap();
        for test in &group.tests {
            let valid = test.result == TestResult::Valid;
            // The formats reject a record whose signature has another length, so it never reaches the predicate.
            match <[u8; 64]>::try_from(&test.sig[..]) {
                Ok(signature) => cases.push((test.tc_id, key, test.msg.to_vec(), signature, valid)),
                Err(_) => assert!(!valid, "case {}: a valid signature has 64 bytes", test.tc_id),
            }
        }
    }
    let signed: Vec<Signed<'_>> =
        cases.iter().map(|(_, key, message, signature, _)| Signed { key, message, signature }).collect();
    assert!(signed.len() > 100);
    for ((id, .., valid), signed) in cases.iter().zip(&signed) {
        assert_eq!(verify_signature(signed), *valid, "case {id}");
    }
    let bad: Vec<usize> = (0..cases.len()).filter(|at| !cases[*at].4).collect();
    assert_eq!(verify_signatures(&signed), bad);
}
