//! Proof that the instructions of the CPU do not matter for a report: each level gives the same one.
#![allow(clippy::unwrap_used)]

use edgesentry_chain::internals::Instructions;
use edgesentry_chain::{AuditRecord, Checks, Device, KeyRing, Report, RingKey, Scheme};
use proptest::prelude::*;

/// Returns the report of each level. A level that the CPU lacks is as the one below.
fn reports(records: &[AuditRecord], checks: &Checks<'_>) -> [Report; 3] {
    [Instructions::Plain, Instructions::Avx2, Instructions::Avx512].map(|level| {
        level.limit();
        checks.report(checks.verify(records, 0).unwrap())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Records of any size, with faults at any place, in slices of any number of records.
    #[test]
    fn a_report_does_not_depend_on_the_instructions(
        count in 0usize..120, sizes in proptest::collection::vec(0usize..2000, 1..9),
        faults in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..6), 0..5),
    ) {
        let schemes = [Scheme::Record, Scheme::PayloadHash, Scheme::Record];
        let mut devices: Vec<Device> = schemes
            .iter()
            .enumerate()
            .map(|(at, scheme)| Device::from_seed(format!("lift-{at:02}"), [at as u8 + 1; 32], *scheme))
            .collect();
        let mut ring = KeyRing::new();
        for device in &devices {
            let key = RingKey { key: device.public_key().unwrap(), scheme: device.scheme(), valid_from: 1 };
            ring.insert(device.device_id(), key).unwrap();
        }
        let mut records: Vec<AuditRecord> = (0..count)
            .map(|at| {
                let object_ref = "x".repeat(sizes[at % sizes.len()]);
                devices[at % 3].sign(1_700_000_000_000 + at as u64, &at.to_le_bytes(), object_ref).unwrap()
            })
            .collect();
        for (at, fault) in faults.into_iter().filter(|_| count > 0) {
            let record = &mut records[at.index(count)];
            match fault {
                0 => record.signature[3] ^= 1,
                1 => record.signature[63] ^= 0x80,
                2 => record.payload_hash.0[31] ^= 4,
                3 => record.prev_record_hash.0[0] ^= 1,
                4 => record.timestamp_ms += 1,
                _ => record.object_ref.push('y'),
            }
        }
        let links = Checks::default();
        let all = Checks { keys: Some(&ring), ..Checks::default() };
        for checks in [links, all] {
            let [plain, avx2, avx512] = reports(&records, &checks);
            prop_assert_eq!(&plain, &avx2);
            prop_assert_eq!(&plain, &avx512);
        }
    }
}
