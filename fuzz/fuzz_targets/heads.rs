//! Heads: heads read are written and read again.

#![no_main]

use edgesentry_formats::{read_heads, write_heads};
use edgesentry_fuzz::{bounded, plant};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::heads()), |input: &[u8]| {
    bounded(|| {
        let Ok(heads) = read_heads(input) else { return };
        let back = read_heads(write_heads(&heads).as_bytes());
        assert_eq!(back.expect("what was written can be read"), heads);
    });
});
