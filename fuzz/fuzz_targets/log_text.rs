//! The text formats of the log: values read are written as the same text. A policy is evaluated on the note after it.

#![no_main]

use edgesentry_fuzz::{bounded, plant};
use edgesentry_log::{
    Checkpoint, HeadsProof, LogProof, Note, NoteSignature, Policy, SignerKey, TileId, VerifierKey,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::log_text()), |input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else { return };
    bounded(|| judge(kind, bytes));
});

fn judge(kind: u8, bytes: &[u8]) {
    let written = match kind % 8 {
        0 => Note::parse(bytes).ok().map(|note| note.to_string()),
        1 => LogProof::parse(bytes).ok().map(|proof| proof.to_string()),
        2 => HeadsProof::parse(bytes).ok().map(|proof| proof.to_string()),
        3 => {
            // A policy may have comments, so its short form is read again.
            let (policy, note) = bytes.split_at(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
            let Ok(policy) = Policy::parse(policy) else { return };
            let short = policy.to_string();
            assert_eq!(Policy::parse(short.as_bytes()).as_ref(), Ok(&policy));
            if let Ok(note) = Note::parse(note.get(1..).unwrap_or_default()) {
                let _ = policy.evaluate(&note);
            }
            return;
        }
        other => {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            match other {
                4 => Checkpoint::parse(text).ok().map(|checkpoint| checkpoint.to_string()),
                5 => text.parse::<VerifierKey>().ok().map(|key| key.to_string()),
                6 => SignerKey::parse(text).ok().map(|key| key.secret_text().to_string()),
                _ => match text.parse::<TileId>() {
                    Ok(id) => Some(id.to_string()),
                    Err(_) => NoteSignature::parse(text).ok().map(|signature| signature.to_string()),
                },
            }
        }
    };
    if let Some(written) = written {
        assert_eq!(written.as_bytes(), bytes);
    }
}
