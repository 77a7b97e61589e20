//! The numbers of the interface. They never change; new ones are added.

use edgesentry_chain::FindingCode;
use edgesentry_update::Refusal;

/// The result of a function: `EDGESENTRY_OK`, or the reason of a failure.
pub type Status = i32;

/// Everything that was asked for was done, and holds.
pub const EDGESENTRY_OK: Status = 0;
/// The evidence was checked, and does not hold.
pub const EDGESENTRY_FINDINGS: Status = 1;
/// There was nothing to verify. Never a pass.
pub const EDGESENTRY_NOTHING_TO_VERIFY: Status = 2;
/// An argument is null, has another size, or is out of its range.
pub const EDGESENTRY_INVALID_ARGUMENT: Status = 3;
/// A buffer is too small.
pub const EDGESENTRY_BUFFER_TOO_SMALL: Status = 4;
/// A public key is not safe to use.
pub const EDGESENTRY_WEAK_KEY: Status = 5;
/// The sequence of the chain is at its maximum.
pub const EDGESENTRY_CHAIN_FULL: Status = 6;
/// Bytes are not the canonical bytes of a record.
pub const EDGESENTRY_MALFORMED: Status = 7;
/// The system has no random numbers.
pub const EDGESENTRY_NO_RANDOM: Status = 8;
/// The outbox cannot go on: see the text of the failure.
pub const EDGESENTRY_OUTBOX: Status = 9;
/// The records stay in the outbox; the same call may succeed later.
pub const EDGESENTRY_TRY_AGAIN: Status = 10;
/// The service rejects a record, which stays in the outbox.
pub const EDGESENTRY_REJECTED: Status = 11;
/// The update is refused: `refusal` has the reason.
pub const EDGESENTRY_REFUSED: Status = 12;
/// Neither slot of the update state is valid. Refuse updates; do not create a new state.
pub const EDGESENTRY_STATE_DAMAGED: Status = 13;
/// The function that reads the image has failed.
pub const EDGESENTRY_UNREADABLE: Status = 14;
/// The signer or the token failed, or the signature does not hold; nothing was signed.
pub const EDGESENTRY_SIGNER: Status = 15;
/// A bug in this library; please report it.
pub const EDGESENTRY_INTERNAL: Status = 100;

/// Scheme `record`: the signature covers every field. For new devices.
pub const EDGESENTRY_SCHEME_RECORD: u32 = 1;
/// Scheme `payload-hash`: the signature covers the payload hash alone. For devices that sign so today.
pub const EDGESENTRY_SCHEME_PAYLOAD_HASH: u32 = 2;

/// The size of a seed, in bytes.
pub const EDGESENTRY_SEED_SIZE: usize = 32;
/// The size of a public key, in bytes.
pub const EDGESENTRY_PUBLIC_KEY_SIZE: usize = 32;
/// The size of a hash, in bytes.
pub const EDGESENTRY_HASH_SIZE: usize = 32;
/// The size of a signature, in bytes.
pub const EDGESENTRY_SIGNATURE_SIZE: usize = 64;
/// The version of this interface. It changes when a program must be changed or compiled again.
pub const EDGESENTRY_ABI_VERSION: u32 = 1;

/// The size of the update state, in bytes: two slots.
pub const EDGESENTRY_UPDATE_STATE_SIZE: usize = 1024;
/// The size of one slot of the update state, in bytes.
pub const EDGESENTRY_UPDATE_SLOT_SIZE: usize = 512;

/// `update_malformed`
pub const EDGESENTRY_REFUSAL_MALFORMED: u32 = 1;
/// `update_other_name`
pub const EDGESENTRY_REFUSAL_OTHER_NAME: u32 = 2;
/// `update_untrusted`
pub const EDGESENTRY_REFUSAL_UNTRUSTED: u32 = 3;
/// `update_expired`
pub const EDGESENTRY_REFUSAL_EXPIRED: u32 = 4;
/// `update_rollback`
pub const EDGESENTRY_REFUSAL_ROLLBACK: u32 = 5;
/// `update_conflict`
pub const EDGESENTRY_REFUSAL_CONFLICT: u32 = 6;
/// `update_image_truncated`
pub const EDGESENTRY_REFUSAL_IMAGE_TRUNCATED: u32 = 7;
/// `update_image_too_long`
pub const EDGESENTRY_REFUSAL_IMAGE_TOO_LONG: u32 = 8;
/// `update_image_hash`
pub const EDGESENTRY_REFUSAL_IMAGE_HASH: u32 = 9;
/// A reason that this version of the interface does not name.
pub const EDGESENTRY_REFUSAL_OTHER: u32 = 255;

/// `prev_hash_mismatch`
pub const EDGESENTRY_FINDING_PREV_HASH_MISMATCH: u32 = 1;
/// `sequence_gap`
pub const EDGESENTRY_FINDING_SEQUENCE_GAP: u32 = 2;
/// `sequence_duplicate`
pub const EDGESENTRY_FINDING_SEQUENCE_DUPLICATE: u32 = 3;
/// `sequence_out_of_order`
pub const EDGESENTRY_FINDING_SEQUENCE_OUT_OF_ORDER: u32 = 4;
/// `fork`
pub const EDGESENTRY_FINDING_FORK: u32 = 5;
/// `first_record_not_genesis`
pub const EDGESENTRY_FINDING_FIRST_RECORD_NOT_GENESIS: u32 = 6;
/// `signature_invalid`
pub const EDGESENTRY_FINDING_SIGNATURE_INVALID: u32 = 7;
/// `unknown_device`
pub const EDGESENTRY_FINDING_UNKNOWN_DEVICE: u32 = 8;
/// `key_not_valid_at_sequence`
pub const EDGESENTRY_FINDING_KEY_NOT_VALID_AT_SEQUENCE: u32 = 9;
/// `payload_hash_mismatch`
pub const EDGESENTRY_FINDING_PAYLOAD_HASH_MISMATCH: u32 = 10;
/// `head_mismatch`
pub const EDGESENTRY_FINDING_HEAD_MISMATCH: u32 = 11;
/// `succession_invalid`
pub const EDGESENTRY_FINDING_SUCCESSION_INVALID: u32 = 12;
/// A finding that this version of the interface does not name.
pub const EDGESENTRY_FINDING_OTHER: u32 = 255;

/// The findings of this interface, with their numbers.
const FINDINGS: [(FindingCode, u32); 12] = [
    (FindingCode::PrevHashMismatch, EDGESENTRY_FINDING_PREV_HASH_MISMATCH),
    (FindingCode::SequenceGap, EDGESENTRY_FINDING_SEQUENCE_GAP),
    (FindingCode::SequenceDuplicate, EDGESENTRY_FINDING_SEQUENCE_DUPLICATE),
    (FindingCode::SequenceOutOfOrder, EDGESENTRY_FINDING_SEQUENCE_OUT_OF_ORDER),
    (FindingCode::Fork, EDGESENTRY_FINDING_FORK),
    (FindingCode::FirstRecordNotGenesis, EDGESENTRY_FINDING_FIRST_RECORD_NOT_GENESIS),
    (FindingCode::SignatureInvalid, EDGESENTRY_FINDING_SIGNATURE_INVALID),
    (FindingCode::UnknownDevice, EDGESENTRY_FINDING_UNKNOWN_DEVICE),
    (FindingCode::KeyNotValidAtSequence, EDGESENTRY_FINDING_KEY_NOT_VALID_AT_SEQUENCE),
    (FindingCode::PayloadHashMismatch, EDGESENTRY_FINDING_PAYLOAD_HASH_MISMATCH),
    (FindingCode::HeadMismatch, EDGESENTRY_FINDING_HEAD_MISMATCH),
    (FindingCode::SuccessionInvalid, EDGESENTRY_FINDING_SUCCESSION_INVALID),
];

/// Returns the number of a finding.
pub(crate) fn finding_number(code: FindingCode) -> u32 {
    let known = FINDINGS.iter().find(|(known, _)| *known == code);
    known.map_or(EDGESENTRY_FINDING_OTHER, |(_, number)| *number)
}

/// Returns the number of a refusal.
pub(crate) fn refusal_number(refusal: &Refusal) -> u32 {
    match refusal {
        Refusal::Malformed(_) => EDGESENTRY_REFUSAL_MALFORMED,
        Refusal::OtherName { .. } => EDGESENTRY_REFUSAL_OTHER_NAME,
        Refusal::Untrusted { .. } => EDGESENTRY_REFUSAL_UNTRUSTED,
        Refusal::Expired { .. } => EDGESENTRY_REFUSAL_EXPIRED,
        Refusal::Rollback { .. } => EDGESENTRY_REFUSAL_ROLLBACK,
        Refusal::Conflict { .. } => EDGESENTRY_REFUSAL_CONFLICT,
        Refusal::ImageTruncated { .. } => EDGESENTRY_REFUSAL_IMAGE_TRUNCATED,
        Refusal::ImageTooLong { .. } => EDGESENTRY_REFUSAL_IMAGE_TOO_LONG,
        Refusal::ImageHash { .. } => EDGESENTRY_REFUSAL_IMAGE_HASH,
        _ => EDGESENTRY_REFUSAL_OTHER,
    }
}
