//! The device side, from `edgesentry-device`.

pub use edgesentry_device::{
    CheckpointConflict, ClockRecord, DEFAULT_MAX_RECEIPT_AGE, Flushed, KeptRejection, MAX_CONFLICTS, Outbox,
    PendingReceipts, ReceiptRules, ReceiptSource, Receipts, ServiceTime, Sink, sign,
};

/// The earlier name of [`Outbox`].
#[deprecated(since = "0.1.0", note = "use `Outbox`")]
pub type Agent = Outbox;
