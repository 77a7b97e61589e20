//! The state of updates survives a loss of power at any time, and never accepts an older version afterwards.
#![allow(clippy::unwrap_used)]

use edgesentry_chain::Hash;
use edgesentry_update::{
    Manifest, PublisherKey, SLOT_BYTES, STATE_BYTES, SignedManifest, State, StateDamaged, Trust,
};
use proptest::prelude::*;

const NAME: &str = "door-controller";

/// The states of a device that installs the versions 1, 2, 3, ...
fn history(count: u64) -> Vec<State> {
    let publisher = PublisherKey::from_seed([1; 32]);
    let trust = Trust::new(NAME, 1, [publisher.public_key().unwrap()]).unwrap();
    let mut states = vec![State::new(NAME).unwrap()];
    for version in 1..=count {
        let manifest = Manifest {
            name: NAME.to_owned(),
            version,
            image_hash: Hash::of(&version.to_le_bytes()),
            image_size_bytes: 8,
            minimum_version: version,
            expires_ms: 1_000_000 + version,
        };
        let mut signed = SignedManifest::new(manifest).unwrap();
        signed.sign(&publisher).unwrap();
        let before = states.last().unwrap();
        let mut image = before.admit(trust.check(&signed).unwrap(), 1000 * version).unwrap().image();
        image.write(&version.to_le_bytes()).unwrap();
        states.push(before.after(&image.finish().unwrap()));
    }
    states
}

fn write(medium: &mut [u8; STATE_BYTES], state: &State) {
    let (slot, bytes) = state.encode();
    medium[slot * SLOT_BYTES..][..SLOT_BYTES].copy_from_slice(&bytes);
}

#[test]
fn a_state_is_read_as_it_was_written() {
    let states = history(5);
    let mut medium = states[0].encode_both();
    for state in &states {
        write(&mut medium, state);
        assert_eq!(State::decode(&medium).as_ref(), Ok(state));
    }
}

#[test]
fn a_write_that_stops_at_any_byte_leaves_the_state_before_or_after() {
    let states = history(4);
    let mut medium = states[0].encode_both();
    for (before, after) in states.iter().zip(&states[1..]) {
        let (slot, bytes) = after.encode();
        for length in 0..=SLOT_BYTES {
            // The medium has the old bytes behind the end of the write, erased ones, or others.
            for fill in [None, Some(0x00), Some(0xff), Some(0x5a)] {
                let mut torn = medium;
                let target = &mut torn[slot * SLOT_BYTES..][..SLOT_BYTES];
                if let Some(fill) = fill {
                    target.fill(fill);
                }
                target[..length].copy_from_slice(&bytes[..length]);
                let read = State::decode(&torn).unwrap();
                assert!(read == *before || read == *after, "{length} bytes, {fill:?}");
                assert!(length < SLOT_BYTES || read == *after);
                // The next write, after the restart, never touches the only valid slot.
                let (next_slot, _) = after.encode();
                assert!(read == *after || next_slot == slot);
            }
        }
        write(&mut medium, after);
    }
}

#[test]
fn the_write_of_a_joined_state_leaves_the_slot_in_use() {
    // Copies of the state have gone on by different numbers of updates.
    let states = history(6);
    for own in &states {
        for other in &states {
            let joined = own.joined(other);
            if joined == *own {
                continue;
            }
            let mut medium = own.encode_both();
            medium[joined.encode().0 * SLOT_BYTES..][..SLOT_BYTES].fill(0xff);
            assert_eq!(State::decode(&medium).as_ref(), Ok(own));
            let mut medium = own.encode_both();
            write(&mut medium, &joined);
            assert_eq!(State::decode(&medium), Ok(joined));
        }
    }
}

#[test]
fn a_damaged_state_is_not_a_new_one() {
    assert_eq!(State::decode(&[0; STATE_BYTES]), Err(StateDamaged::default()));
    assert_eq!(State::decode(&[0xff; STATE_BYTES]), Err(StateDamaged::default()));
    // Slots that have changed places have not been written so.
    let mut medium = history(1)[0].encode_both();
    medium.rotate_left(SLOT_BYTES);
    assert_eq!(State::decode(&medium), Err(StateDamaged::default()));
}

proptest! {
    #[test]
    fn any_damage_to_one_slot_costs_at_most_the_last_update(
        steps in 1u64..6, which in 0usize..2, at in 0usize..SLOT_BYTES, bit in 0u8..8,
    ) {
        let states = history(steps);
        let mut medium = states[0].encode_both();
        for state in &states {
            write(&mut medium, state);
        }
        medium[which * SLOT_BYTES + at] ^= 1 << bit;
        let read = State::decode(&medium).unwrap();
        prop_assert!(read == states[states.len() - 1] || read == states[states.len() - 2]);
    }

    #[test]
    fn arbitrary_bytes_are_not_a_state(bytes in proptest::collection::vec(any::<u8>(), STATE_BYTES)) {
        prop_assert!(State::decode(bytes.as_slice().try_into().unwrap()).is_err());
    }
}
