//! The transparency log: an RFC 6962 tree over typed leaves, signed checkpoints, proofs, tiles and policies.
//!
//! No I/O, no async, no clock, no logging. The formats are those of C2SP (signed-note, tlog-checkpoint,
//! tlog-cosignature, tlog-tiles, tlog-proof, tlog-policy); `docs/reference/log.md` specifies them byte by byte, with
//! examples. A parser accepts exactly the bytes that the writer of the same type produces; only a policy, which people
//! write, may have blanks and comments.
//!
//! ```
//! use edgesentry_log::{Checkpoint, CompactRange, Policy, SignerKey, KeyType, TreeHash};
//!
//! let mut range = CompactRange::default();
//! range.push(TreeHash::of_leaf(b"first"));
//! range.push(TreeHash::of_leaf(b"second"));
//!
//! let key = SignerKey::from_seed("log.example/lifts", KeyType::Ed25519, [7; 32])?;
//! let checkpoint = Checkpoint::new("log.example/lifts", range.end(), range.root()?)?;
//! let note = checkpoint.sign(&key)?;
//!
//! let policy = Policy::parse(format!("log {}\nquorum none\n", key.verifier()).as_bytes())?;
//! assert_eq!(policy.evaluate(&note)?.checkpoint(), &checkpoint);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
mod batch;
mod bundle;
mod checkpoint;
mod consistency;
mod evidence;
mod follow;
mod hash;
mod heads;
mod heads_proof;
mod key;
mod layout;
mod leaf;
mod level;
mod log_proof;
mod note;
mod part;
mod places;
mod policy;
mod proof;
mod range;
mod replay;
mod run_proof;
mod statement;
mod text;
mod tile;
mod tree;
mod witness;

pub use append::{AppendError, Appender};
pub use batch::{
    Assigned, Assignment, Batch, BatchError, BuiltBatch, KeyChange, KeyState, PreparedRecord, ReadBatch, Run,
    Tampered, TamperedProblem, revoked_by,
};
pub use bundle::{EntryBundle, MAX_ENTRY_BYTES};
pub use checkpoint::{Checkpoint, CheckpointError, MAX_ORIGIN_BYTES};
pub use consistency::{ConsistencyProof, ConsistencyProofError};
pub use evidence::{
    BLOCK_BYTES, BundleFile, BundleKeysError, BundleManifest, BundleManifestError, BundleMember, BundleScope,
    FileDigest, LeafItem, LeafItemError, LeafItems, LeafWalk, MANIFEST_NAME, MAX_BUNDLE_SUBJECTS,
    MAX_LACKING, MAX_LEAVES_BYTES, MAX_MANIFEST_BYTES, PartialHeads, PartialHeadsError, PartialTree,
    manifest_bytes, member_header, padding_bytes, push_leaf_item, push_subtree_item, read_bundle_keys,
    skipped_subtrees, write_bundle_keys, write_partial_heads,
};
pub use follow::{
    Contradiction, FINDINGS_DROPPED, FollowError, Follower, KEY_CONTRADICTED, LEAF_UNREAD, ReplacedKeys,
};
pub use hash::{MAX_SIZE, TreeHash};
pub use heads::{HeadEntry, HeadsError, HeadsRoot, HeadsTree};
pub use heads_proof::{DeviceState, HeadsProof, HeadsProofError, ProvenDevice};
pub use key::{KeyId, KeyType, NoteKeyError, SignerKey, VerifierKey};
pub use layout::{Layout, LayoutError, LayoutItem, LayoutWriter};
pub use leaf::{
    ErasedLeaf, HeadsLeaf, KeyLeaf, Leaf, LeafError, OpenedLeaf, RevokedLeaf, leaf_hash_of_record,
};
pub use level::{LogCheck, LogInputs, MAX_FAST_SECONDS, MaxAge};
pub use log_proof::{LogProof, LogProofError, MAX_PROOF_BYTES};
pub use note::{MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, NoteSignature, VerifiedSignature};
pub use part::{LogPart, MAX_LOG_ROW_BYTES};
pub use places::{Places, PlacesError};
pub use policy::{
    Cosigned, MAX_POLICY_BYTES, Policy, PolicyError, PolicyLog, PolicyWitness, TrustedCheckpoint,
};
pub use proof::{
    MAX_PATH, ProofError, consistency_nodes, consistency_path, inclusion_nodes, inclusion_path,
    root_of_inclusion, shows_other_root, verify_consistency, verify_inclusion,
};
pub use range::{CompactRange, NodeId, RangeError};
pub use replay::Replay;
pub use run_proof::{MAX_RUN_PROOF_BYTES, MAX_RUN_RECORDS, ProvenRun, RunLeaf, RunProof, RunProofError};
pub use statement::{Expected, ProofFile, ProofFileError, Proven, Statement, StatementKind};
pub use tile::{TILE_WIDTH, Tile, TileError, TileId, TileKind, new_tiles};
pub use tree::Tree;
pub use witness::{
    AddCheckpoint, CosignatureError, EvidenceKind, MAX_WITNESS_REQUEST_BYTES, MAX_WITNESS_RESPONSE_BYTES,
    WitnessDecision, WitnessRefusal, WitnessRequestError, WitnessedLogs, cosigned_note, decide_witness,
    evidence_digest, read_cosignature, read_witness_size, witness_path,
};
