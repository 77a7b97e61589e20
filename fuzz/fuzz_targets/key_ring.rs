//! Key rings: keys read are written and read again, for every default scheme.

#![no_main]

use edgesentry_chain::Scheme;
use edgesentry_formats::{read_key_ring, write_key_ring};
use edgesentry_fuzz::{bounded, plant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::key_ring()), |input: &[u8]| {
    bounded(|| {
        let Ok(ring) = read_key_ring(input, Scheme::PayloadHash) else { return };
        for (device, keys) in ring.iter() {
            assert!(!keys.is_empty(), "{device:?} has no key");
            assert!(keys.is_sorted_by(|key, next| key.valid_from < next.valid_from), "keys of {device:?}");
        }
        let back = read_key_ring(write_key_ring(&ring).as_bytes(), Scheme::Record);
        assert_eq!(back.expect("what was written can be read"), ring);
    });
});
