//! Arrow IPC, file and stream: no panic, no memory beyond the limit, and records read are written and read again.

#![no_main]

use edgesentry_chain::AuditRecord;
use edgesentry_formats::Format;
use edgesentry_fuzz::{bounded, plant, read, read_back};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::arrow()), |input: &[u8]| {
    bounded(|| {
        let Ok(entries) = read(input, usize::MAX) else { return };
        let records: Vec<AuditRecord> = entries.into_iter().flatten().take(100).collect();
        read_back(&records, Format::Arrow);
    });
});
