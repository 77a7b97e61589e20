//! Every check of admission at both sides of its limit, without a store.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Device, Hash, Head, RingKey, Scheme};

use super::*;

const PAYLOAD: &[u8] = b"door closed";

fn device(device_id: &str, seed: u8) -> Device {
    Device::from_seed(device_id, [seed; 32], Scheme::Record)
}

/// A registry of one device whose keys begin at, and are revoked from, the given sequences.
fn registry(device_id: &str, keys: &[(u8, u64, Option<u64>)]) -> Registry {
    let keys: Vec<RegisteredKey> = keys
        .iter()
        .map(|(seed, valid_from, revoked_from)| {
            let key = device(device_id, *seed).public_key().unwrap();
            let key = RingKey { key, scheme: Scheme::Record, valid_from: *valid_from };
            RegisteredKey { key, revoked_from: *revoked_from }
        })
        .collect();
    let head = Chain::EMPTY.head;
    HashMap::from([(Arc::from(device_id), DeviceKeys { version: 7, keys: keys.into(), head })])
}

/// A record of `lift` by the key of `seed`, signed after the change.
fn signed(seed: u8, change: impl FnOnce(&mut AuditRecord)) -> AuditRecord {
    let mut lift = device("lift", seed);
    let mut record = lift.sign(1000, PAYLOAD, "1.bin").unwrap();
    change(&mut record);
    lift.sign_record(&mut record).unwrap();
    record
}

fn submission(record: AuditRecord, payload: impl Into<Bytes>) -> Submission {
    Submission { record: Arc::new(record), payload: payload.into() }
}

/// Decides about one record under the key of seed 1, valid from the beginning.
fn decided(record: AuditRecord, payload: impl Into<Bytes>) -> Result<Admitted, Rejection> {
    under(&registry("lift", &[(1, 1, None)]), record, payload)
}

fn under(registry: &Registry, record: AuditRecord, payload: impl Into<Bytes>) -> Result<Admitted, Rejection> {
    let mut results = decide(vec![submission(record, payload)], registry, Rotation::Device);
    assert_eq!(results.len(), 1);
    results.remove(0)
}

/// The code, the expected and the actual value of a rejection, as text.
fn refusal(result: Result<Admitted, Rejection>) -> (RejectionCode, String, String) {
    let rejection = result.unwrap_err();
    (rejection.code, rejection.expected.to_string(), rejection.actual.to_string())
}

#[test]
fn an_admitted_record_keeps_its_parts() {
    let record = signed(1, |_| ());
    let admitted = decided(record.clone(), PAYLOAD).unwrap();
    assert_eq!(**admitted.record(), record);
    assert_eq!(admitted.hash(), record.hash());
    assert_eq!(admitted.payload(), PAYLOAD);
    assert_eq!(admitted.keys_version(), 7);
    let again = admitted.to_submission();
    assert_eq!((*again.record).clone(), record);
    assert_eq!(again.payload, PAYLOAD);
}

#[test]
fn numbers_end_at_their_limits() {
    let limit = i64::MAX as u64;
    for sequence in [1, limit] {
        assert!(decided(signed(1, |record| record.sequence = sequence), PAYLOAD).is_ok(), "{sequence}");
    }
    for sequence in [0, limit + 1, u64::MAX] {
        let (code, expected, actual) =
            refusal(decided(signed(1, |record| record.sequence = sequence), PAYLOAD));
        assert_eq!(code, RejectionCode::OutOfRange);
        assert_eq!(expected, format!("a sequence from 1 to {limit}"));
        assert_eq!(actual, sequence.to_string());
    }
    for timestamp_ms in [0, limit] {
        let record = signed(1, |record| record.timestamp_ms = timestamp_ms);
        assert!(decided(record, PAYLOAD).is_ok(), "{timestamp_ms}");
    }
    let record = signed(1, |record| record.timestamp_ms = limit + 1);
    let (code, expected, actual) = refusal(decided(record, PAYLOAD));
    assert_eq!(code, RejectionCode::OutOfRange);
    assert_eq!(expected, format!("a timestamp_ms of at most {limit}"));
    assert_eq!(actual, (limit + 1).to_string());
}

#[test]
fn names_end_at_their_limits() {
    let references = ["r".to_owned(), "r".repeat(1024)];
    for object_ref in references {
        assert!(decided(signed(1, |record| record.object_ref = object_ref), PAYLOAD).is_ok());
    }
    for (object_ref, actual) in [(String::new(), "0 bytes"), ("r".repeat(1025), "1025 bytes")] {
        let found = refusal(decided(signed(1, |record| record.object_ref = object_ref), PAYLOAD));
        let expected = "object_ref of 1 to 1024 bytes".to_owned();
        assert_eq!(found, (RejectionCode::OutOfRange, expected, actual.to_owned()));
    }
    let found = refusal(decided(signed(1, |record| record.object_ref = "a\0b".to_owned()), PAYLOAD));
    let expected = "object_ref without the character U+0000".to_owned();
    assert_eq!(found, (RejectionCode::OutOfRange, expected, "U+0000".to_owned()));
    let found = refusal(decided(signed(1, |record| record.device_id = String::new()), PAYLOAD));
    let expected = "device_id of 1 to 1024 bytes".to_owned();
    assert_eq!(found, (RejectionCode::OutOfRange, expected, "0 bytes".to_owned()));
    let found = refusal(decided(signed(1, |record| record.device_id = "d".repeat(1025)), PAYLOAD));
    assert_eq!((found.0, found.2.as_str()), (RejectionCode::OutOfRange, "1025 bytes"));
}

#[test]
fn payloads_end_at_their_limit() {
    let limit = 64 << 20;
    for (size, is_admitted) in [(0, true), (limit, true), (limit + 1, false)] {
        let payload = vec![0; size];
        let result = decided(signed(1, |record| record.payload_hash = Hash::of(&payload)), payload);
        if is_admitted {
            assert!(result.is_ok(), "{size}");
        } else {
            let expected = format!("a payload of at most {limit} bytes");
            let actual = format!("{size} bytes");
            assert_eq!(refusal(result), (RejectionCode::OutOfRange, expected, actual));
        }
    }
}

#[test]
fn the_payload_device_and_signature_must_match() {
    let record = signed(1, |_| ());
    let found = refusal(decided(record.clone(), &b"door open"[..]));
    let (expected, actual) = (Hash::of(PAYLOAD).to_string(), Hash::of(b"door open").to_string());
    assert_eq!(found, (RejectionCode::PayloadHashMismatch, expected, actual));

    let found = refusal(under(&registry("pump", &[(1, 1, None)]), record, PAYLOAD));
    let expected = "a registered device".to_owned();
    assert_eq!(found, (RejectionCode::UnknownDevice, expected, "\"lift\"".to_owned()));

    let forged = signed(2, |_| ());
    let (code, expected, actual) = refusal(decided(forged.clone(), PAYLOAD));
    let key = device("lift", 1).public_key().unwrap();
    assert_eq!(code, RejectionCode::SignatureInvalid);
    assert_eq!(expected, format!("a signature of the record scheme by key {key}"));
    assert_eq!(actual, hex::encode(forged.signature));

    // A signature under the other scheme is rejected all the same, and the cause is named.
    let record = signed(1, |_| ());
    let mut lift = Device::from_seed("lift", [1; 32], Scheme::PayloadHash);
    let other = lift.sign(record.timestamp_ms, PAYLOAD, record.object_ref).unwrap();
    let (code, _, actual) = refusal(decided(other, PAYLOAD));
    assert_eq!(code, RejectionCode::SignatureInvalid);
    assert!(actual.contains(&format!("key {key} that holds under scheme payload-hash")), "{actual}");
}

#[test]
fn each_key_signs_from_its_sequence_to_its_revocation() {
    let registry = registry("lift", &[(1, 5, None), (2, 10, Some(20))]);
    let at = |sequence, seed| {
        under(&registry, signed(seed, |record: &mut AuditRecord| record.sequence = sequence), PAYLOAD)
    };
    for (sequence, seed) in [(5, 1), (9, 1), (10, 2), (19, 2)] {
        assert!(at(sequence, seed).is_ok(), "{sequence}");
    }
    for (sequence, seed) in [(9, 2), (10, 1)] {
        assert_eq!(at(sequence, seed).unwrap_err().code, RejectionCode::SignatureInvalid, "{sequence}");
    }
    let code = RejectionCode::KeyNotValidAtSequence;
    let expected = "sequence 5 or later, where the first key begins".to_owned();
    assert_eq!(refusal(at(4, 1)), (code, expected, "sequence 4".to_owned()));
    for sequence in [20, 21] {
        let expected = "a sequence below 20, from which the key is revoked".to_owned();
        assert_eq!(refusal(at(sequence, 2)), (code, expected, format!("sequence {sequence}")));
    }
}

#[test]
fn a_device_without_keys_signs_nothing() {
    let found = refusal(under(&registry("lift", &[]), signed(1, |_| ()), PAYLOAD));
    let expected = "sequence 0 or later, where the first key begins".to_owned();
    assert_eq!(found, (RejectionCode::KeyNotValidAtSequence, expected, "sequence 1".to_owned()));
}

#[test]
fn many_records_keep_their_order() {
    let count = 64 * 2 * rayon::current_num_threads() + 1;
    let mut lift = device("lift", 1);
    let records: Vec<AuditRecord> = (0..count).map(|_| lift.sign(1000, PAYLOAD, "1.bin").unwrap()).collect();
    let submissions = records
        .iter()
        .map(|record| {
            let mut record = record.clone();
            match record.sequence % 3 {
                0 => record.signature[0] ^= 1,
                1 => record.payload_hash = Hash::of(b"other"),
                _ => {}
            }
            submission(record, PAYLOAD)
        })
        .collect();
    let results = decide(submissions, &registry("lift", &[(1, 1, None)]), Rotation::Device);
    assert_eq!(results.len(), count);
    for (record, result) in records.iter().zip(results) {
        let (sequence, code) = match result {
            Ok(admitted) => (admitted.record().sequence, None),
            Err(rejection) => (rejection.record.sequence, Some(rejection.code)),
        };
        assert_eq!(sequence, record.sequence);
        let expected = match sequence % 3 {
            0 => Some(RejectionCode::SignatureInvalid),
            1 => Some(RejectionCode::PayloadHashMismatch),
            _ => None,
        };
        assert_eq!(code, expected, "{sequence}");
    }
}

#[test]
fn a_chain_accepts_only_its_next_record() {
    let mut lift = device("lift", 1);
    let admitted: Vec<Admitted> =
        (0..3).map(|_| decided(lift.sign(1000, PAYLOAD, "1.bin").unwrap(), PAYLOAD).unwrap()).collect();
    let head = |admitted: &Admitted| Head { sequence: admitted.record().sequence, hash: admitted.hash() };
    let rejected = |outcome| match outcome {
        Outcome::Rejected(rejection) => {
            (rejection.code, rejection.expected.to_string(), rejection.actual.to_string())
        }
        other => panic!("{other:?}"),
    };

    let mut chain = Chain::EMPTY;
    assert_eq!(chain.judge(&admitted[0], None), Outcome::Accepted);
    assert_eq!(chain, Chain::EMPTY, "judging moves nothing");
    let found = rejected(chain.decide(&admitted[1], None));
    assert_eq!(found, (RejectionCode::SequenceGap, "1".to_owned(), "2".to_owned()));
    assert_eq!(chain, Chain::EMPTY, "a rejection moves nothing");
    for next in &admitted[..2] {
        assert_eq!(chain.decide(next, None), Outcome::Accepted);
        assert_eq!(chain.head, head(next));
    }

    assert_eq!(chain.decide(&admitted[0], Some(admitted[0].hash())), Outcome::Duplicate);
    let found = rejected(chain.decide(&admitted[0], Some(Hash::of(b"other"))));
    let expected = (RejectionCode::Fork, Hash::of(b"other").to_string(), admitted[0].hash().to_string());
    assert_eq!(found, expected);
    let found = rejected(chain.decide(&admitted[1], None));
    assert_eq!(found, (RejectionCode::SequenceDuplicate, "3".to_owned(), "2".to_owned()));

    let other = signed(1, |record| {
        record.sequence = 3;
        record.prev_record_hash = Hash::of(b"other");
    });
    let found = rejected(chain.decide(&decided(other, PAYLOAD).unwrap(), None));
    let expected = (admitted[1].hash().to_string(), Hash::of(b"other").to_string());
    assert_eq!(found, (RejectionCode::PrevHashMismatch, expected.0, expected.1));
    assert_eq!(chain.head, head(&admitted[1]), "none of these moved the head");
    assert_eq!(chain.decide(&admitted[2], None), Outcome::Accepted);
}

/// A succession from the key of seed 1 to that of seed 2, in the record after `before`.
fn succession(before: u64) -> (AuditRecord, Vec<u8>) {
    let head = Head { sequence: before, hash: Hash::ZERO };
    device("lift", 1).resume((before > 0).then_some(head)).succeed(1000, device("lift", 2)).unwrap()
}

/// Decides about a succession at sequence 10, with these keys beside the one of seed 1.
fn succeeding(keys: &[(u8, u64, Option<u64>)], rotation: Rotation) -> Option<Succeeding> {
    let (record, payload) = succession(9);
    let registry = registry("lift", &[&[(1, 1, None)], keys].concat());
    let mut results = decide(vec![submission(record, payload)], &registry, rotation);
    results.remove(0).unwrap().succeeding().cloned()
}

/// The key of seed 2, from sequence 11 on.
fn new_key() -> RingKey {
    RingKey { key: device("lift", 2).public_key().unwrap(), scheme: Scheme::Record, valid_from: 11 }
}

#[test]
fn a_record_that_states_no_key_has_none() {
    let admitted = decided(signed(1, |_| ()), PAYLOAD).unwrap();
    assert!(admitted.succeeding().is_none());
}

#[test]
fn a_device_states_a_key_that_the_registry_may_take() {
    assert_eq!(succeeding(&[], Rotation::Device), Some(Ok(new_key())));
    // The operator has registered it.
    for rotation in [Rotation::Device, Rotation::Operator] {
        assert_eq!(succeeding(&[(2, 11, None)], rotation), None);
    }
    // The key of the record may begin at it.
    assert_eq!(succeeding(&[(1, 10, None)], Rotation::Device), Some(Ok(new_key())));
    // A key that was revoked before its first record does not count.
    for revoked_from in [12, 13] {
        assert_eq!(succeeding(&[(3, 13, Some(revoked_from))], Rotation::Device), Some(Ok(new_key())));
    }
}

#[test]
fn a_key_that_the_registry_refuses_has_its_reason() {
    let refused = |keys: &[(u8, u64, Option<u64>)], rotation| {
        let (code, expected, actual) = succeeding(keys, rotation).unwrap().unwrap_err();
        assert_eq!(code, RejectionCode::SuccessionInvalid);
        let new = new_key().key;
        assert_eq!(actual.to_string(), format!("a succession to key {new} (record) from sequence 11 on"));
        expected.to_string()
    };
    let operator = "a key that the operator has registered, as ingest.rotation is operator";
    assert_eq!(refused(&[], Rotation::Operator), operator);
    let third = device("lift", 3).public_key().unwrap();
    for revoked_from in [None, Some(14)] {
        let later = format!("key {third} from sequence 13 on, which is registered");
        assert_eq!(refused(&[(3, 13, revoked_from)], Rotation::Device), later);
    }
    // The device had the key before, or has it from another sequence on.
    let had = [(2, 5, Some(5)), (1, 7, None)];
    assert_eq!(refused(&had, Rotation::Device), "a key that no device has had");
    let key = device("lift", 2).public_key().unwrap();
    let later = format!("key {key} from sequence 12 on, which is registered");
    assert_eq!(refused(&[(2, 12, None)], Rotation::Device), later);
}

#[test]
fn so_many_keys_follow_and_no_more() {
    let most = edgesentry_chain::MAX_FOLLOWED;
    let (record, payload) = succession(199);
    for (keys, is_taken) in [(most - 1, true), (most, false)] {
        let mut all = registry("lift", &[(1, 1, None)]);
        let device_keys = all.get_mut("lift").unwrap();
        let others = (0..keys as u64 - 1).map(|at| {
            let key = Device::from_seed("lift", *Hash::of(&at.to_le_bytes()).as_bytes(), Scheme::Record);
            let key = RingKey { key: key.public_key().unwrap(), scheme: Scheme::Record, valid_from: 2 + at };
            RegisteredKey { key, revoked_from: None }
        });
        let last =
            RegisteredKey { key: RingKey { valid_from: 150, ..device_keys.keys[0].key }, revoked_from: None };
        device_keys.keys = others.chain([last]).collect();
        assert_eq!(device_keys.keys.len(), keys);
        let admitted = under(&all, record.clone(), payload.clone()).unwrap();
        let expected = format!("at most {most} keys of a device, or a key that the operator registers");
        match admitted.succeeding().unwrap() {
            Ok(key) => assert!(is_taken && key.valid_from == 201, "{key:?}"),
            Err((_, text, _)) => assert!(!is_taken && text.to_string() == expected, "{text}"),
        }
    }
}

#[test]
fn a_key_begins_at_a_sequence_that_a_ledger_holds() {
    for (before, is_taken) in [(MAX_SEQUENCE - 2, true), (MAX_SEQUENCE - 1, false)] {
        let (record, payload) = succession(before);
        let admitted = decided(record, payload).unwrap();
        let expected = format!("a sequence of at most {MAX_SEQUENCE} for the new key");
        match admitted.succeeding().unwrap() {
            Ok(key) => assert!(is_taken && key.valid_from == MAX_SEQUENCE, "{key:?}"),
            Err((_, text, _)) => assert!(!is_taken && text.to_string() == expected, "{text}"),
        }
    }
}

#[test]
fn a_succession_that_does_not_hold_is_a_rejection() {
    let (record, payload) = succession(9);
    let mut cut = record.clone();
    cut.object_ref.pop();
    device("lift", 1).sign_record(&mut cut).unwrap();
    let (code, expected, _) = refusal(decided(cut, payload.clone()));
    assert_eq!(code, RejectionCode::SuccessionInvalid);
    assert!(expected.starts_with("an object reference of the form"), "{expected}");
    // Without a valid signature, that is the reason.
    let mut forged = record;
    forged.object_ref.pop();
    assert_eq!(refusal(decided(forged, payload)).0, RejectionCode::SignatureInvalid);
}
