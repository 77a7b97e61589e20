//! Encodings of points with coefficients: every way to sum them gives the same sum, and the same encodings decode.

#![no_main]

use edgesentry_chain::internals::SUMS_OF_R;
use edgesentry_fuzz::{bounded, plant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::signatures()), |input: &[u8]| {
    // Each has 32 bytes of an encoding and 16 of a coefficient.
    let (parts, _) = input.as_chunks::<48>();
    let encodings: Vec<[u8; 32]> = parts.iter().map(|part| std::array::from_fn(|i| part[i])).collect();
    let coefficients: Vec<u128> =
        parts.iter().map(|part| u128::from_le_bytes(std::array::from_fn(|i| part[32 + i]))).collect();
    bounded(|| {
        let mut sums = SUMS_OF_R.iter().filter_map(|(name, sum)| {
            sum(&encodings, &coefficients).map(|(sum, undecodable)| (name, sum.compress(), undecodable))
        });
        let Some((_, sum, undecodable)) = sums.next() else { return };
        for (name, other, others) in sums {
            assert_eq!((other, &others), (sum, &undecodable), "{name}");
        }
    });
});
