//! The pages of docs/findings/, one for each code.

use edgesentry_chain::FindingCode;

/// Returns the page of a code as text, without its title, its example and its last link.
pub fn explanation(code: FindingCode) -> String {
    let mut kept = Vec::new();
    let mut is_example = false;
    for line in page(code).lines().skip(1) {
        if line.starts_with("## ") {
            is_example = line == "## Example";
        }
        if !is_example && line != "[All findings](README.md)" {
            kept.push(line);
        }
    }
    kept.join("\n").trim().to_owned()
}

/// Returns the page of a code.
pub(crate) fn page(code: FindingCode) -> &'static str {
    match code {
        FindingCode::PrevHashMismatch => include_str!("../../../docs/findings/prev_hash_mismatch.md"),
        FindingCode::SequenceGap => include_str!("../../../docs/findings/sequence_gap.md"),
        FindingCode::SequenceDuplicate => include_str!("../../../docs/findings/sequence_duplicate.md"),
        FindingCode::SequenceOutOfOrder => include_str!("../../../docs/findings/sequence_out_of_order.md"),
        FindingCode::Fork => include_str!("../../../docs/findings/fork.md"),
        FindingCode::FirstRecordNotGenesis => {
            include_str!("../../../docs/findings/first_record_not_genesis.md")
        }
        FindingCode::SignatureInvalid => include_str!("../../../docs/findings/signature_invalid.md"),
        FindingCode::UnknownDevice => include_str!("../../../docs/findings/unknown_device.md"),
        FindingCode::KeyNotValidAtSequence => {
            include_str!("../../../docs/findings/key_not_valid_at_sequence.md")
        }
        FindingCode::SuccessionInvalid => include_str!("../../../docs/findings/succession_invalid.md"),
        FindingCode::PayloadHashMismatch => {
            include_str!("../../../docs/findings/payload_hash_mismatch.md")
        }
        FindingCode::PayloadMissing => include_str!("../../../docs/findings/payload_missing.md"),
        FindingCode::HeadMismatch => include_str!("../../../docs/findings/head_mismatch.md"),
        FindingCode::DeviceMissing => include_str!("../../../docs/findings/device_missing.md"),
        FindingCode::BundleMalformed => include_str!("../../../docs/findings/bundle_malformed.md"),
        FindingCode::RecordMalformed => include_str!("../../../docs/findings/record_malformed.md"),
        FindingCode::CheckpointUntrusted => include_str!("../../../docs/findings/checkpoint_untrusted.md"),
        FindingCode::WitnessQuorumMissing => {
            include_str!("../../../docs/findings/witness_quorum_missing.md")
        }
        FindingCode::CheckpointStale => include_str!("../../../docs/findings/checkpoint_stale.md"),
        FindingCode::CheckpointMismatch => include_str!("../../../docs/findings/checkpoint_mismatch.md"),
        FindingCode::CheckpointInconsistent => {
            include_str!("../../../docs/findings/checkpoint_inconsistent.md")
        }
        FindingCode::LeafMissing => include_str!("../../../docs/findings/leaf_missing.md"),
        FindingCode::NotIncluded => include_str!("../../../docs/findings/not_included.md"),
        FindingCode::HeadsMismatch => include_str!("../../../docs/findings/heads_mismatch.md"),
        FindingCode::KeyNotLogged => include_str!("../../../docs/findings/key_not_logged.md"),
        FindingCode::TimestampInvalid => include_str!("../../../docs/findings/timestamp_invalid.md"),
    }
}
