//! Attacks on updates: each is refused, for the reason that it has.
#![allow(clippy::unwrap_used)]

#[path = "../../checked.rs"]
mod checked;

use edgesentry_chain::{AuditRecord, Device, Hash, Scheme};
use edgesentry_update::{
    MAX_SIGNATURES, Manifest, ManifestError, PublisherKey, Refusal, SignedManifest, State, Trust, TrustError,
    Verified, audit_payload,
};

const NAME: &str = "door-controller";
const NOW_MS: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 86_400_000;

fn publisher(number: u8) -> PublisherKey {
    PublisherKey::from_seed([number; 32])
}

fn trust(threshold: usize, publishers: &[u8]) -> Trust {
    Trust::new(NAME, threshold, publishers.iter().map(|number| publisher(*number).public_key().unwrap()))
        .unwrap()
}

fn image(version: u64) -> Vec<u8> {
    (0..10_000u64).flat_map(|at| (at * version).to_le_bytes()).collect()
}

fn manifest(version: u64) -> Manifest {
    let image = image(version);
    Manifest {
        name: NAME.to_owned(),
        version,
        image_hash: Hash::of(&image),
        image_size_bytes: image.len() as u64,
        minimum_version: version,
        expires_ms: NOW_MS + 30 * DAY_MS,
    }
}

fn signed(manifest: Manifest, publishers: &[u8]) -> SignedManifest {
    let mut signed = SignedManifest::new(manifest).unwrap();
    for number in publishers {
        signed.sign(&publisher(*number)).unwrap();
    }
    signed
}

/// What a device does with an update.
fn receive(
    trust: &Trust,
    state: &State,
    manifest: &[u8],
    image: &[u8],
    now_ms: u64,
) -> Result<Verified, Refusal> {
    let trusted = trust.check(&SignedManifest::parse(manifest)?)?;
    let mut check = state.admit(trusted, now_ms)?.image();
    for chunk in image.chunks(4096) {
        check.write(chunk)?;
    }
    check.finish()
}

/// A device that has installed version 5; publishers 1, 2 and 3, of which two must sign.
struct Fleet {
    trust: Trust,
    state: State,
}

impl Fleet {
    fn new() -> Fleet {
        let trust = trust(2, &[1, 2, 3]);
        let fresh = State::new(NAME).unwrap();
        let first = signed(manifest(5), &[1, 2]).to_bytes();
        let verified = receive(&trust, &fresh, &first, &image(5), NOW_MS).unwrap();
        Fleet { state: fresh.after(&verified), trust }
    }

    fn refusal(&self, signed: &SignedManifest, image: &[u8]) -> Refusal {
        receive(&self.trust, &self.state, &signed.to_bytes(), image, NOW_MS).unwrap_err()
    }
}

#[test]
fn an_update_of_enough_publishers_is_accepted_and_can_be_repeated() {
    let Fleet { trust, state } = Fleet::new();
    for publishers in [&[1, 2][..], &[3, 1], &[2, 3, 1], &[9, 2, 3]] {
        let bytes = signed(manifest(6), publishers).to_bytes();
        let verified = receive(&trust, &state, &bytes, &image(6), NOW_MS).unwrap();
        let next = state.after(&verified);
        assert_eq!((next.version(), next.minimum_version()), (6, 6));
        let again = receive(&trust, &next, &bytes, &image(6), NOW_MS).unwrap();
        assert_eq!(next.after(&again).version(), 6);
    }
}

#[test]
fn an_old_version_is_refused() {
    let fleet = Fleet::new();
    for version in 1..5 {
        let old = signed(manifest(version), &[1, 2, 3]);
        let refusal = fleet.refusal(&old, &image(version));
        assert_eq!(refusal, Refusal::Rollback { version, minimum_version: 5 });
    }
}

#[test]
fn publishers_decide_how_far_back_a_device_may_go() {
    let Fleet { trust, state } = Fleet::new();
    let lenient = signed(Manifest { minimum_version: 6, ..manifest(8) }, &[1, 2]).to_bytes();
    let state = state.after(&receive(&trust, &state, &lenient, &image(8), NOW_MS).unwrap());
    // 7 has a lower minimum, which never lowers that of the device.
    let back = signed(Manifest { minimum_version: 2, ..manifest(7) }, &[1, 2]).to_bytes();
    let state = state.after(&receive(&trust, &state, &back, &image(7), NOW_MS).unwrap());
    assert_eq!((state.version(), state.minimum_version()), (8, 6));
    let older = signed(manifest(5), &[1, 2]).to_bytes();
    let refusal = receive(&trust, &state, &older, &image(5), NOW_MS).unwrap_err();
    assert_eq!(refusal, Refusal::Rollback { version: 5, minimum_version: 6 });
}

#[test]
fn a_device_that_is_kept_from_newer_updates_notices() {
    let Fleet { trust, state } = Fleet::new();
    let bytes = signed(manifest(5), &[1, 2]).to_bytes();
    let expires_ms = NOW_MS + 30 * DAY_MS;
    assert!(!state.is_stale(expires_ms - 1));
    assert!(state.is_stale(expires_ms));
    for now_ms in [expires_ms, expires_ms + DAY_MS, u64::MAX] {
        let refusal = receive(&trust, &state, &bytes, &image(5), now_ms).unwrap_err();
        assert_eq!(refusal, Refusal::Expired { expires_ms, now_ms });
    }
    // The publishers state that 5 is still the newest.
    let renewed = Manifest { expires_ms: expires_ms + 30 * DAY_MS, ..manifest(5) };
    let renewed = signed(renewed, &[2, 3]).to_bytes();
    let state = state.after(&receive(&trust, &state, &renewed, &image(5), expires_ms).unwrap());
    assert!(!state.is_stale(expires_ms));
}

#[test]
fn a_clock_that_is_set_back_revives_no_manifest() {
    let Fleet { trust, state } = Fleet::new();
    let short = signed(Manifest { expires_ms: NOW_MS + DAY_MS, ..manifest(6) }, &[1, 2]).to_bytes();
    let later = signed(manifest(7), &[1, 2]).to_bytes();
    let state = state.after(&receive(&trust, &state, &later, &image(7), NOW_MS + 2 * DAY_MS).unwrap());
    for now_ms in [0, 1, NOW_MS] {
        let refusal = receive(&trust, &state, &short, &image(6), now_ms).unwrap_err();
        let expected = Refusal::Expired { expires_ms: NOW_MS + DAY_MS, now_ms: NOW_MS + 2 * DAY_MS };
        assert_eq!(refusal, expected);
    }
    // A clock that ran ahead cannot lock a device: the manifest would have expired for it.
    let wrong = receive(&trust, &state, &signed(manifest(8), &[1, 2]).to_bytes(), &image(8), u64::MAX);
    assert!(matches!(wrong, Err(Refusal::Expired { .. })));
}

#[test]
fn images_and_manifests_of_different_updates_do_not_mix() {
    let fleet = Fleet::new();
    let (six, seven) = (signed(manifest(6), &[1, 2]), signed(manifest(7), &[1, 2]));
    let refusal = fleet.refusal(&seven, &image(6));
    let expected = Refusal::ImageHash { expected: Hash::of(&image(7)), actual: Hash::of(&image(6)) };
    assert_eq!(refusal, expected);

    // Signatures of one manifest under the other, all or one of them.
    let (body, with) = (seven.to_bytes(), six.to_bytes());
    let start = body.len() - 2 * 96;
    assert_eq!(start, with.len() - 2 * 96);
    for (taken, valid) in [(&[0, 1][..], 0), (&[0], 1), (&[1], 1)] {
        let mut mixed = body.clone();
        for which in taken {
            let range = start + which * 96..start + (which + 1) * 96;
            mixed[range.clone()].copy_from_slice(&with[range]);
        }
        let mixed = SignedManifest::parse(&mixed).unwrap();
        assert_eq!(fleet.refusal(&mixed, &image(7)), Refusal::Untrusted { valid, threshold: 2 });
    }

    // An update of another product, of the same publishers.
    let other = signed(Manifest { name: "lift-drive".to_owned(), ..manifest(6) }, &[1, 2]);
    let refusal = fleet.refusal(&other, &image(6));
    assert_eq!(refusal, Refusal::OtherName { expected: NAME.to_owned(), actual: "lift-drive".to_owned() });
    let elsewhere = Trust::new("lift-drive", 2, fleet.trust.keys().iter().copied()).unwrap();
    let refusal = receive(&elsewhere, &fleet.state, &other.to_bytes(), &image(6), NOW_MS).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherName { .. }));
}

#[test]
fn one_version_is_one_image() {
    let fleet = Fleet::new();
    let other = image(50);
    let twin = Manifest { image_hash: Hash::of(&other), image_size_bytes: other.len() as u64, ..manifest(5) };
    let expected = Hash::of(&image(5));
    let refusal = fleet.refusal(&signed(twin, &[1, 2]), &other);
    assert_eq!(refusal, Refusal::Conflict { version: 5, expected, actual: Hash::of(&other) });
}

#[test]
fn a_truncated_or_longer_image_is_refused() {
    let fleet = Fleet::new();
    let (update, whole) = (signed(manifest(6), &[1, 2]), image(6));
    let expected = whole.len() as u64;
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        let refusal = fleet.refusal(&update, &whole[..length]);
        assert_eq!(refusal, Refusal::ImageTruncated { expected, actual: length as u64 });
    }
    let longer = [whole.as_slice(), &[0]].concat();
    assert_eq!(fleet.refusal(&update, &longer), Refusal::ImageTooLong { expected });
    for at in [0, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(matches!(fleet.refusal(&update, &changed), Refusal::ImageHash { .. }));
    }
}

#[test]
fn too_few_publishers_and_keys_of_other_roles_do_not_count() {
    let fleet = Fleet::new();
    for (publishers, valid) in [(&[][..], 0), (&[1], 1), (&[7, 8, 9], 0), (&[3, 7, 8, 9], 1)] {
        let refusal = fleet.refusal(&signed(manifest(6), publishers), &image(6));
        assert_eq!(refusal, Refusal::Untrusted { valid, threshold: 2 });
    }

    // A device whose key is, by mistake, that of a publisher signs records. None of its signatures is one of a manifest,
    // even if an attacker chooses the payload hash.
    let unsigned = signed(manifest(6), &[]);
    let message = unsigned.manifest().signed_message();
    for scheme in [Scheme::Record, Scheme::PayloadHash] {
        let mut bytes = unsigned.to_bytes();
        *bytes.last_mut().unwrap() = 2;
        let mut keys: Vec<(u8, [u8; 32])> =
            [1, 2].map(|number| (number, *publisher(number).public_key().unwrap().as_bytes())).to_vec();
        keys.sort_by_key(|(_, key)| *key);
        for (number, key) in keys {
            let device = Device::from_seed("lift-01", [number; 32], scheme);
            let mut record = AuditRecord {
                device_id: "lift-01".to_owned(),
                sequence: 1,
                timestamp_ms: NOW_MS,
                payload_hash: Hash(message[21..].try_into().unwrap()),
                signature: [0; 64],
                prev_record_hash: Hash::ZERO,
                object_ref: "1.bin".to_owned(),
            };
            device.sign_record(&mut record).unwrap();
            bytes.extend_from_slice(&key);
            bytes.extend_from_slice(&record.signature);
        }
        let forged = SignedManifest::parse(&bytes).unwrap();
        assert_eq!(fleet.refusal(&forged, &image(6)), Refusal::Untrusted { valid: 0, threshold: 2 });
    }
}

#[test]
fn one_key_counts_once() {
    let update = signed(manifest(6), &[1]);
    let bytes = update.to_bytes();
    let (head, signature) = bytes.split_at(bytes.len() - 96);
    let mut twice = head.to_vec();
    *twice.last_mut().unwrap() = 2;
    twice.extend_from_slice(signature);
    twice.extend_from_slice(signature);
    assert!(matches!(SignedManifest::parse(&twice), Err(Refusal::Malformed(_))));

    let mut update = update;
    assert!(matches!(update.sign(&publisher(1)), Err(ManifestError::SignedBefore(_))));
    let key = publisher(1).public_key().unwrap();
    assert_eq!(Trust::new(NAME, 2, [key, key]), Err(TrustError::KeyTwice(key.to_string())));
}

#[test]
fn any_flipped_bit_is_refused() {
    let fleet = Fleet::new();
    let bytes = signed(manifest(6), &[1, 2]).to_bytes();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            receive(&fleet.trust, &fleet.state, &changed, &image(6), NOW_MS).unwrap_err();
        }
    }
    for length in 0..bytes.len() {
        let refusal = SignedManifest::parse(&bytes[..length]).unwrap_err();
        assert_eq!(refusal.code(), "update_malformed");
    }
    assert!(SignedManifest::parse(&[bytes.as_slice(), &[0]].concat()).is_err());
}

#[test]
fn manifests_and_trusts_that_cannot_be_used_are_refused() {
    for name in ["", "a b", "a/b", "ä", "a\n", &"x".repeat(129)] {
        let bad = Manifest { name: name.to_owned(), ..manifest(6) };
        assert!(matches!(SignedManifest::new(bad), Err(ManifestError::Name(_))), "{name}");
        assert!(matches!(Trust::new(name, 1, trust(1, &[1]).keys().to_vec()), Err(TrustError::Name(_))));
        assert!(State::new(name).is_err());
    }
    for (version, minimum_version) in [(0, 0), (1, 0), (1, 2)] {
        let bad = Manifest { version, minimum_version, ..manifest(6) };
        let error = SignedManifest::new(bad).unwrap_err();
        assert_eq!(error, ManifestError::Version { version, minimum_version });
    }
    let empty = Manifest { image_size_bytes: 0, ..manifest(6) };
    assert_eq!(SignedManifest::new(empty), Err(ManifestError::Empty));
    let keys = trust(1, &[1, 2]).keys().to_vec();
    for threshold in [0, 3] {
        let error = Trust::new(NAME, threshold, keys.iter().copied()).unwrap_err();
        assert_eq!(error, TrustError::Threshold { threshold, keys: 2 });
    }
    let mut full = signed(manifest(6), &[]);
    for number in 0..MAX_SIGNATURES as u8 {
        full.sign(&publisher(number)).unwrap();
    }
    assert_eq!(full.sign(&publisher(200)), Err(ManifestError::TooManySignatures));
    assert_eq!(SignedManifest::parse(&full.to_bytes()).unwrap(), full);
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(format!("{:?}", publisher(7)), "PublisherKey(redacted)");
}

#[test]
fn accepted_and_refused_updates_become_records() {
    let fleet = Fleet::new();
    let update = manifest(6);
    let accepted = audit_payload(Some(&update), Ok(()));
    let hash = Hash::of(&image(6));
    assert_eq!(
        accepted,
        format!(
            r#"{{"type":"edgesentry-update/v1","outcome":"accepted","name":"door-controller","version":6,"image_hash":"{hash}","image_size_bytes":80000}}"#
        )
    );
    let refusal = fleet.refusal(&signed(update.clone(), &[1]), &image(6));
    let refused = audit_payload(Some(&update), Err(&refusal));
    assert!(refused.contains(r#""outcome":"refused","reason":"update_untrusted","name":"door-controller""#));
    let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    let record = device.sign(NOW_MS, accepted.as_bytes(), "update/6").unwrap();
    assert_eq!(record.payload_hash, Hash::of(accepted.as_bytes()));
}
