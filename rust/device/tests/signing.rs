//! Signing on a device without an outbox, a network or a runtime.
#![allow(clippy::unwrap_used)]

#[path = "../../checked.rs"]
mod checked;

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_device::wire::{parse_submission, write_submission};
use edgesentry_device::{Device, Scheme, Submission, sign};

#[test]
fn a_signed_record_crosses_the_wire_as_it_is() {
    let mut device = Device::from_seed("lift-01", [7; 32], Scheme::Record);
    let payload = Bytes::from_static(b"door closed");
    let record = sign(&mut device, 1_700_000_000_000, &payload, "s3://bucket/lift-01/1.bin").unwrap();
    let mut text = Vec::new();
    write_submission(&Submission { record: Arc::new(record.clone()), payload: payload.clone() }, &mut text);
    let read = parse_submission(&text).unwrap();
    assert_eq!((&*read.record, &read.payload), (&record, &payload));
    assert!(
        parse_submission(&text[1..])
            .unwrap_err()
            .to_string()
            .starts_with("expected a record with its payload")
    );
}
