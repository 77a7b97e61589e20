//! One entry: the fast decoder returns the same result byte by byte and by vectors, the strict one returns the same if the
//! fast one accepts the entry, and a record read is written and read again in every format.

#![no_main]

use edgesentry_formats::{Format, fuzzing};
use edgesentry_fuzz::{bounded, plant, read_back};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::record()), |input: &[u8]| {
    // The fast decoder sees the text after its entry, and must not use it.
    let Some((&behind, text)) = input.split_first() else { return };
    let length = text.len().saturating_sub(behind.into());
    bounded(|| {
        let strict = fuzzing::decode_strict(&text[..length]);
        let fast = fuzzing::decode_fast(text, length);
        for other in fuzzing::decode_fast_all(text, length) {
            assert_eq!(other, fast);
        }
        if fast.is_some() {
            assert_eq!(fast, strict);
        }
        if let Some(record) = strict {
            read_back(std::slice::from_ref(&record), Format::Json);
            read_back(&[record.clone(), record], Format::Ndjson);
        }
    });
});
