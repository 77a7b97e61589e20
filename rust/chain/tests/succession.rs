//! Successions of keys: what holds, what does not, and that verdicts do not depend on how the input is split.
#![allow(clippy::unwrap_used)]

#[path = "../../checked.rs"]
mod checked;

use edgesentry_chain::{
    AuditRecord, Checks, Device, FindingCode as Code, Hash, KeyRing, MAX_FOLLOWED, Report, RingKey, Scheme,
    Succession, SuccessionError,
};

fn lift(seed: u8, scheme: Scheme) -> Device {
    Device::from_seed("lift-01", [seed; 32], scheme)
}

fn key(device: &Device, valid_from: u64) -> RingKey {
    RingKey { key: device.public_key().unwrap(), scheme: device.scheme(), valid_from }
}

fn ring(keys: &[RingKey]) -> KeyRing {
    let mut ring = KeyRing::new();
    keys.iter().for_each(|key| ring.insert("lift-01", *key).unwrap());
    ring
}

fn sign(device: &mut Device, records: u64) -> Vec<AuditRecord> {
    let record = |at| device.sign(1000 + at, format!("{at}").as_bytes(), format!("{at}.bin")).unwrap();
    (0..records).map(record).collect()
}

/// Five records, the third of which is the succession.
fn rotated(old: Scheme, new: Scheme) -> (Vec<AuditRecord>, RingKey, RingKey) {
    let mut device = lift(1, old);
    let first = key(&device, 1);
    let mut records = sign(&mut device, 2);
    records.push(device.succeed(3000, lift(2, new)).unwrap().0);
    records.extend(sign(&mut device, 2));
    (records, first, key(&device, 4))
}

fn report(records: &[AuditRecord], ring: &KeyRing) -> Report {
    let checks = Checks { keys: Some(ring), ..Checks::default() };
    let whole = checks.report(checks.verify(records, 0).unwrap());
    for at in 0..=records.len() {
        let (one, other) = records.split_at(at);
        let parts = checks.verify(one, 0).unwrap().merge(checks.verify(other, at as u64).unwrap());
        assert_eq!(checks.report(parts), whole, "cut at {at}");
    }
    whole
}

fn found(records: &[AuditRecord], ring: &KeyRing) -> Vec<(Code, u64)> {
    let report = report(records, ring);
    report.findings.iter().map(|finding| (finding.code, finding.sequence.unwrap())).collect()
}

#[test]
fn a_succession_that_the_ring_has_holds_under_each_scheme() {
    for (old, new) in [
        (Scheme::Record, Scheme::Record),
        (Scheme::PayloadHash, Scheme::PayloadHash),
        (Scheme::PayloadHash, Scheme::Record),
    ] {
        let (records, first, second) = rotated(old, new);
        assert_eq!(found(&records, &ring(&[first, second])), []);
        let mut followed = ring(&[first]);
        let stated: Vec<Option<RingKey>> =
            records.iter().map(|record| followed.follow(record).unwrap()).collect();
        assert_eq!(stated, [None, None, Some(second), None, None]);
        assert_eq!(followed, ring(&[first, second]));
        // Again: it has the key already.
        assert_eq!(followed.follow(&records[2]), Ok(Some(second)));
        assert_eq!(found(&records, &followed), []);
    }
}

#[test]
fn a_ring_that_lacks_or_contradicts_the_new_key_decides() {
    let (records, first, second) = rotated(Scheme::Record, Scheme::Record);
    let rest = [(Code::SignatureInvalid, 4), (Code::SignatureInvalid, 5)];
    assert_eq!(found(&records, &ring(&[first])), [&[(Code::SuccessionInvalid, 3)][..], &rest].concat());
    let third = key(&lift(3, Scheme::Record), 4);
    assert_eq!(
        found(&records, &ring(&[first, third])),
        [&[(Code::SuccessionInvalid, 3)][..], &rest].concat()
    );
    let [none, other] = [ring(&[first]), ring(&[first, third])].map(|ring| {
        let finding = report(&records, &ring).findings.remove(0);
        (finding.expected.to_string(), finding.actual.to_string())
    });
    let stated = format!("a succession to key {} (record) from sequence 4 on", second.key);
    let of_ring = |key: &RingKey| {
        format!("the key ring with key {} (record) from sequence {} on", key.key, key.valid_from)
    };
    assert_eq!(none, (of_ring(&first), stated.clone()));
    assert_eq!(other, (of_ring(&third), stated));
    // The ring has it from another sequence on.
    let late = RingKey { valid_from: 5, ..second };
    let expected = [(Code::SuccessionInvalid, 3), (Code::KeyNotValidAtSequence, 4)];
    assert_eq!(found(&records, &ring(&[first, late])), expected);
    for other in [third, late] {
        assert!(ring(&[first, other]).follow(&records[2]).is_err());
    }
    // A ring without the device says nothing about its keys.
    assert_eq!(KeyRing::new().follow(&records[2]), Ok(None));
    assert!(ring(&[second]).follow(&records[2]).is_err());
}

#[test]
fn a_succession_cannot_be_moved_or_edited_even_if_signatures_cover_payload_hashes_alone() {
    let (records, first, second) = rotated(Scheme::PayloadHash, Scheme::PayloadHash);
    let succession = &records[2];
    let keys = ring(&[first, second]);
    let check = |change: &dyn Fn(&mut AuditRecord)| {
        let mut record = succession.clone();
        change(&mut record);
        let parsed = Succession::of(&record).unwrap();
        parsed.and_then(|parsed| parsed.check(&record, &first)).map(|_| ()).unwrap_err()
    };
    let other = |error| matches!(error, SuccessionError::OtherStatement { .. });
    assert!(other(check(&|record| record.sequence = 2)));
    assert!(other(check(&|record| record.device_id = "lift-02".into())));
    let thief = hex::encode(lift(9, Scheme::Record).public_key().unwrap().as_bytes());
    let own = hex::encode(second.key.as_bytes());
    assert!(other(check(&|record| record.object_ref = record.object_ref.replace(&own, &thief))));
    assert!(other(check(&|record| record.object_ref = record.object_ref.replace("payload-hash", "record"))));
    let uppercase = |record: &mut AuditRecord| {
        record.object_ref = record.object_ref.replace(&own, &own.to_uppercase());
    };
    assert_eq!(check(&uppercase), SuccessionError::Malformed);
    assert_eq!(check(&|record| record.sequence = u64::MAX), SuccessionError::ChainFull);
    // The old key is part of the statement.
    let third = RingKey { valid_from: 1, ..key(&lift(3, Scheme::PayloadHash), 1) };
    let parsed = Succession::of(succession).unwrap().unwrap();
    assert!(matches!(parsed.check(succession, &third), Err(SuccessionError::OtherStatement { .. })));
    // Turned into an ordinary record, it is a record of the old key; the ring still has the new one.
    let mut hidden = records.clone();
    hidden[2].object_ref = "3.bin".into();
    assert_eq!(found(&hidden, &keys), [(Code::PrevHashMismatch, 4)]);
}

#[test]
fn every_malformed_object_reference_is_a_finding() {
    let (records, first, second) = rotated(Scheme::Record, Scheme::Record);
    let good = &records[2].object_ref;
    let (key, proof) = (good.split(':').nth(4).unwrap(), good.split(':').nth(5).unwrap());
    for object_ref in [
        "edgesentry:succession:".to_owned(),
        good.replace(":1:", ":2:"),
        good.replace(":record:", ":other:"),
        format!("{good}:"),
        good.replace(key, &key[..62]),
        good.replace(proof, &proof.to_uppercase().replace(|digit: char| digit.is_ascii_digit(), "A")),
        good.replace(proof, "é"),
    ] {
        let mut record = records[2].clone();
        record.object_ref = object_ref.clone();
        lift(1, Scheme::Record).sign_record(&mut record).unwrap();
        let chain = [records[0].clone(), records[1].clone(), record];
        assert_eq!(found(&chain, &ring(&[first, second])), [(Code::SuccessionInvalid, 3)], "{object_ref}");
        let error = ring(&[first]).follow(&chain[2]).unwrap_err();
        assert_eq!(
            error.expected,
            "an object reference of the form edgesentry:succession:1:SCHEME:KEY:PROOF"
        );
        assert_eq!(error.actual, "one of another form");
    }
}

#[test]
fn a_new_key_is_strong_new_and_proven() {
    let mut device = lift(1, Scheme::Record);
    let error = |successor| lift(1, Scheme::Record).succeed(1, successor).unwrap_err();
    assert!(matches!(error(lift(1, Scheme::Record)), SuccessionError::SameKey(_)));
    assert_eq!(error(lift(2, Scheme::PayloadHash)), SuccessionError::WeakerScheme);
    let other = Device::from_seed("lift-02", [2; 32], Scheme::Record);
    assert!(matches!(error(other), SuccessionError::OtherDevice { .. }));

    // An attacker with the old key states a key that it does not have, or a weak one.
    let first = key(&device, 1);
    let victim = lift(2, Scheme::Record).public_key().unwrap();
    for (claimed, is_weak) in [(*victim.as_bytes(), false), ([0; 32], true)] {
        let mut payload = b"\x24edgesentry-rs 2026 key succession v1\x07lift-01\x02\x01".to_vec();
        payload.extend_from_slice(first.key.as_bytes());
        payload.push(1);
        payload.extend_from_slice(&claimed);
        let proof = [7; 64];
        payload.extend_from_slice(&proof);
        let object_ref =
            format!("edgesentry:succession:1:record:{}:{}", hex::encode(claimed), hex::encode(proof));
        let mut record = device.sign(1, &payload, object_ref).unwrap();
        device = device.resume(None);
        assert_eq!(record.payload_hash, Hash::of(&payload));
        let error = Succession::of(&record).unwrap().unwrap().check(&record, &first).unwrap_err();
        assert_eq!(matches!(error, SuccessionError::Key(_)), is_weak, "{error}");
        assert_eq!(matches!(error, SuccessionError::Proof(_)), !is_weak, "{error}");
        assert_eq!(found(std::slice::from_ref(&record), &ring(&[first])), [(Code::SuccessionInvalid, 1)]);
        record.sequence = 1;
        assert!(ring(&[first]).follow(&record).is_err());
    }
}

#[test]
fn a_second_succession_at_the_same_sequence_is_refused() {
    let (records, first, second) = rotated(Scheme::Record, Scheme::Record);
    let mut thief = lift(1, Scheme::Record);
    sign(&mut thief, 2);
    let stolen = thief.succeed(3000, lift(9, Scheme::Record)).unwrap().0;
    let mut forked = records.clone();
    forked.insert(3, stolen.clone());
    let codes = found(&forked, &ring(&[first, second]));
    assert!(codes.contains(&(Code::Fork, 3)) && codes.contains(&(Code::SuccessionInvalid, 3)), "{codes:?}");
    let mut followed = ring(&[first]);
    followed.follow(&records[2]).unwrap();
    assert!(followed.follow(&stolen).is_err());
    // The old key makes no succession after its own.
    let mut late = thief.resume(None);
    late = Device::from_seed("lift-01", [1; 32], late.scheme()).resume(lift(1, Scheme::Record).head());
    sign(&mut late, 4);
    assert!(followed.follow(&late.succeed(1, lift(9, Scheme::Record)).unwrap().0).is_err());
}

#[test]
fn a_key_of_another_device_and_too_many_keys_are_not_followed() {
    let (records, first, second) = rotated(Scheme::Record, Scheme::Record);
    let mut shared = ring(&[first]);
    shared.insert("lift-02", RingKey { valid_from: 1, ..second }).unwrap();
    assert!(shared.follow(&records[2]).unwrap_err().to_string().contains("no device had before"));

    let mut device = lift(1, Scheme::Record);
    let mut many = ring(&[first]);
    for number in 1..MAX_FOLLOWED as u8 {
        let (record, _) = device.succeed(1, lift(number + 1, Scheme::Record)).unwrap();
        many.follow(&record).unwrap();
    }
    let (record, _) = device.succeed(1, lift(200, Scheme::Record)).unwrap();
    assert!(many.follow(&record).unwrap_err().to_string().contains("at most 64 keys"));
}

#[test]
fn the_payload_is_the_documented_one() {
    let mut device = lift(1, Scheme::Record);
    let old = device.public_key().unwrap();
    let (record, payload) = device.succeed(1, lift(2, Scheme::Record)).unwrap();
    let new = device.public_key().unwrap();
    let mut expected = b"\x24edgesentry-rs 2026 key succession v1\x07lift-01\x02\x01".to_vec();
    expected.extend_from_slice(old.as_bytes());
    expected.push(1);
    expected.extend_from_slice(new.as_bytes());
    let proof = ed25519_dalek::Signer::sign(&ed25519_dalek::SigningKey::from_bytes(&[2; 32]), &expected);
    expected.extend_from_slice(&proof.to_bytes());
    assert_eq!(payload, expected);
    let text = format!("edgesentry:succession:1:record:{new}:{}", hex::encode(proof.to_bytes()));
    assert_eq!(record.object_ref, text);
    assert_eq!(device.head().unwrap().hash, record.hash());
    assert_eq!(Succession::of(&record).unwrap().unwrap().object_ref(), text);
}
