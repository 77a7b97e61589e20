//! The comparison with the witnesses of a policy: a log that shows a witness another tree has two histories.

use std::sync::Arc;

use edgesentry_formats::times;
use edgesentry_log::{KeyType, MAX_NOTE_BYTES, Note, Policy, PolicyWitness, VerifierKey};
use futures::future::join_all;

use super::finding::{Found, WitnessState, WitnessView};
use super::source::{self, Access, Source};
use super::tiles::TileTree;
use super::{Failure, Monitor, Round, Signed, inconsistent, unverifiable};
use crate::error::Error;
use crate::s3_settings::S3Settings;

/// How long a witness may be ahead of the checkpoint that the log shows. A log publishes a checkpoint after a quorum has
/// signed it.
const MAX_AHEAD_MS: u64 = 10 * 60 * 1000;
/// Witnesses that are asked at once.
const WITNESSES_AT_ONCE: usize = 8;

/// A witness of the policy with a URL.
pub(super) struct WitnessSource {
    name: String,
    /// The keys of the log and that of the witness.
    log_keys: Vec<VerifierKey>,
    key: VerifierKey,
    path: String,
    source: Arc<dyn Source>,
}

/// Opens the witnesses that have a URL.
pub(super) async fn open(
    policy: &Policy,
    origin: &str,
    access: Access,
    s3: &S3Settings,
) -> Result<Vec<WitnessSource>, Error> {
    let log_keys: Vec<VerifierKey> =
        policy.logs().iter().filter(|log| log.key.name() == origin).map(|log| log.key.clone()).collect();
    let path = PolicyWitness::checkpoint_path(origin);
    let mut witnesses = Vec::new();
    for witness in policy.witnesses() {
        let Some(url) = &witness.url else { continue };
        witnesses.push(WitnessSource {
            name: witness.name.clone(),
            log_keys: log_keys.clone(),
            key: witness.key.clone(),
            path: path.clone(),
            source: source::open(url, access.clone(), s3).await?,
        });
    }
    Ok(witnesses)
}

impl WitnessSource {
    /// Returns the last checkpoint of the log that the witness has signed; `None` if it has signed none.
    async fn note(&self) -> Result<Option<Note>, Failure> {
        let Some(bytes) = self.source.get(&self.path, MAX_NOTE_BYTES).await? else { return Ok(None) };
        let failed = |problem: String| Failure::new(self.source.place(), problem);
        let note = Note::parse(&bytes).map_err(|error| failed(format!("not a signed note: {error}")))?;
        let signed = note.verify(self.log_keys.iter().chain([&self.key]));
        let signed = signed.map_err(|error| failed(format!("the checkpoint of the witness: {error}")))?;
        let by = |kind: KeyType| signed.iter().any(|signature| signature.key.kind() == kind);
        if !by(KeyType::Ed25519) || !by(KeyType::CosignatureV1) {
            return Err(failed("the checkpoint lacks the signature of the log or of the witness".to_owned()));
        }
        Ok(Some(note.clone()))
    }

    fn view(&self, state: WitnessState, size: Option<u64>) -> WitnessView {
        WitnessView { name: self.name.clone(), state, size }
    }
}

impl Monitor {
    /// Asks each witness for its last checkpoint.
    pub(super) async fn witness_notes(&self) -> Vec<Result<Option<Note>, Failure>> {
        let mut notes = Vec::with_capacity(self.witnesses.len());
        for witnesses in self.witnesses.chunks(WITNESSES_AT_ONCE) {
            notes.extend(join_all(witnesses.iter().map(WitnessSource::note)).await);
        }
        notes
    }

    /// Compares the checkpoint of the log with those of the witnesses.
    pub(super) async fn compare_witnesses(
        &self,
        shown: &Signed,
        notes: Vec<Result<Option<Note>, Failure>>,
        round: &mut Round,
    ) -> Result<(), Error> {
        for (witness, note) in self.witnesses.iter().zip(notes) {
            let view = match note {
                Ok(None) => witness.view(WitnessState::Never, None),
                Ok(Some(note)) => self.compare_witness(witness, note, shown, round).await?,
                Err(failure) => {
                    round.failures.push(failure);
                    witness.view(WitnessState::Failed, None)
                }
            };
            round.witnesses.push(view);
        }
        Ok(())
    }

    async fn compare_witness(
        &self,
        witness: &WitnessSource,
        note: Note,
        shown: &Signed,
        round: &mut Round,
    ) -> Result<WitnessView, Error> {
        let Some(theirs) = Signed::of(note).filter(|theirs| theirs.checkpoint.origin() == self.origin) else {
            let problem = "the witness shows a checkpoint of another log".to_owned();
            round.failures.push(Failure::new(witness.source.place(), problem));
            return Ok(witness.view(WitnessState::Failed, None));
        };
        let is_ahead = theirs.checkpoint.size() > shown.checkpoint.size();
        let (older, newer) = if is_ahead { (shown, &theirs) } else { (&theirs, shown) };
        let compared = self.compare(&witness.name, older, newer).await;
        let shows_no_tree = is_ahead && compared.is_err();
        let since = self.state.ahead_since(&witness.name, shows_no_tree).await?;
        let state = match compared {
            Ok(None) => WitnessState::Agrees,
            Ok(Some(found)) => {
                round.found.push(found);
                WitnessState::Contradicts
            }
            Err(_) if shows_no_tree => {
                round.found.extend(withheld(witness, &theirs, shown, since));
                WitnessState::Ahead
            }
            Err(failure) => {
                round.failures.push(failure);
                WitnessState::Failed
            }
        };
        Ok(witness.view(state, Some(theirs.checkpoint.size())))
    }

    /// Returns the finding if the log does not extend the older of two checkpoints.
    async fn compare(&self, witness: &str, older: &Signed, newer: &Signed) -> Result<Option<Found>, Failure> {
        if older.checkpoint == newer.checkpoint {
            return Ok(None);
        }
        let mut tree = TileTree::new(&*self.source, &newer.checkpoint);
        let is_same_size = older.checkpoint.size() == newer.checkpoint.size();
        if !is_same_size && tree.root_at(older.checkpoint.size()).await? == older.checkpoint.root() {
            return Ok(None);
        }
        let proof = tree.proof(older.checkpoint.size(), &newer.note).await;
        Ok(Some(inconsistent(&format!("witness {witness}"), older, newer, proof)))
    }
}

/// Returns the finding of a log that has not shown the tree of a witness for too long.
fn withheld(witness: &WitnessSource, theirs: &Signed, shown: &Signed, since_ms: u64) -> Option<Found> {
    let waited = times::now_ms().saturating_sub(since_ms);
    (waited > MAX_AHEAD_MS).then(|| {
        let message = format!(
            "expected the tree of size {} that witness {} has signed, found a checkpoint of size {} for {} minutes",
            theirs.checkpoint.size(),
            witness.name,
            shown.checkpoint.size(),
            waited / 60_000
        );
        let mut found = unverifiable("checkpoint_withheld", &shown.checkpoint.to_string(), message);
        found.subject = format!("checkpoint_withheld {}", witness.name);
        found.evidence = vec![
            ("witness.checkpoint", theirs.note.to_string().into_bytes()),
            ("log.checkpoint", shown.note.to_string().into_bytes()),
        ];
        found
    })
}
