//! Files of updates on a device: the publishers that it trusts, and the state of its updates.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use edgesentry_chain::{KeyError, PublicKey};
use edgesentry_update::{
    ManifestError, SLOT_BYTES, STATE_BYTES, State, StateDamaged, Trust, TrustError, Verified,
};
use serde::Deserialize;

use crate::new_file::{Readers, create_file};

/// The reason why a file is not a trust.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrustFileError {
    /// It is not JSON of this form.
    #[error("expected {{\"name\": ..., \"threshold\": ..., \"keys\": [...]}}")]
    Json(#[source] serde_json::Error),
    /// A key cannot be used.
    #[error("a key of a publisher")]
    Key(#[from] KeyError),
    /// The name, the threshold or the keys do not fit together.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// Reads the publishers that a device trusts: JSON with the name of the product, the number of publishers that must sign,
/// and their public keys.
///
/// ```
/// let json = br#"{"name": "door-controller", "threshold": 1,
///     "keys": ["d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"]}"#;
/// assert_eq!(edgesentry_formats::read_update_trust(json)?.threshold(), 1);
/// # Ok::<(), edgesentry_formats::TrustFileError>(())
/// ```
///
/// # Errors
/// The text has another form, or a value cannot be used.
pub fn read_update_trust(json: &[u8]) -> Result<Trust, TrustFileError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        name: String,
        threshold: usize,
        keys: Vec<String>,
    }
    let File { name, threshold, keys } = serde_json::from_slice(json).map_err(TrustFileError::Json)?;
    let keys = keys.iter().map(|key| key.parse()).collect::<Result<Vec<PublicKey>, KeyError>>()?;
    Ok(Trust::new(name, threshold, keys)?)
}

/// The reason why an update state cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateStateError {
    /// The file exists.
    #[error("{}: exists; a new state would accept old versions", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The name of the product cannot be used.
    #[error(transparent)]
    Name(#[from] ManifestError),
    /// The file has another size, or neither slot is valid.
    #[error("{}: not a valid update state; refuse updates, and do not replace it by a new one", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why, if the size is right.
        #[source]
        source: Option<StateDamaged>,
    },
    /// Another process uses it.
    #[error("{}: another process uses the update state; try again later", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// An operating system call failed.
    #[error("{}: cannot {action} the update state", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `create`, `read` or `write`.
        action: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// The update state of a device in a file of [`STATE_BYTES`]. A write changes one of its two slots in place and syncs it,
/// so that a loss of power leaves the state before or after it.
#[derive(Debug)]
pub struct UpdateStateFile {
    file: File,
    path: PathBuf,
    state: State,
}

impl UpdateStateFile {
    /// Creates the file of a new device, which accepts every version. Never replaces a file.
    ///
    /// # Errors
    /// The file exists, or cannot be written.
    pub fn create(path: &Path, name: &str) -> Result<(), UpdateStateError> {
        let state = State::new(name)?;
        create_file(path, Readers::Owner, &state.encode_both()).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => UpdateStateError::Exists { path: path.to_owned() },
            _ => failed(path, "create")(source),
        })
    }

    /// Reads the state and changes nothing.
    ///
    /// # Errors
    /// The file cannot be read, or is not a valid state.
    pub fn read(path: &Path) -> Result<State, UpdateStateError> {
        let mut file = File::open(path).map_err(failed(path, "read"))?;
        read_state(&mut file, path)
    }

    /// Opens the file to accept updates; no other process can open it until it is dropped.
    ///
    /// # Errors
    /// As [`UpdateStateFile::read`]; or another process has opened it.
    pub fn open(path: &Path) -> Result<UpdateStateFile, UpdateStateError> {
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed(path, "read"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(UpdateStateError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(failed(path, "read")(source)),
        }
        let state = read_state(&mut file, path)?;
        Ok(UpdateStateFile { file, path: path.to_owned(), state })
    }

    /// Returns the state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Accepts an update durably. Start the image after that.
    ///
    /// # Errors
    /// The file cannot be written. The state is the one from before, and the call can be repeated.
    pub fn accept(&mut self, verified: &Verified) -> Result<(), UpdateStateError> {
        self.replace(self.state.after(verified))
    }

    /// Replaces the state durably, with one that [`State::after`] or [`State::joined`] made of it.
    ///
    /// # Errors
    /// The file cannot be written. The state is the one from before, and the call can be repeated.
    pub fn replace(&mut self, next: State) -> Result<(), UpdateStateError> {
        let (slot, bytes) = next.encode();
        let mut write = || {
            self.file.seek(SeekFrom::Start((slot * SLOT_BYTES) as u64))?;
            self.file.write_all(&bytes)?;
            self.file.sync_all()
        };
        write().map_err(failed(&self.path, "write"))?;
        self.state = next;
        Ok(())
    }
}

fn failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> UpdateStateError + use<> {
    let path = path.to_owned();
    move |source| UpdateStateError::Io { path, action, source }
}

fn read_state(file: &mut File, path: &Path) -> Result<State, UpdateStateError> {
    let mut bytes = Vec::with_capacity(STATE_BYTES + 1);
    file.take(STATE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed(path, "read"))?;
    let damaged = |source| UpdateStateError::Damaged { path: path.to_owned(), source };
    let both: &[u8; STATE_BYTES] = bytes.as_slice().try_into().map_err(|_| damaged(None))?;
    State::decode(both).map_err(|error| damaged(Some(error)))
}

#[cfg(test)]
mod tests {
    use edgesentry_chain::Hash;
    use edgesentry_update::{Manifest, PublisherKey, SignedManifest};

    use super::*;

    const NAME: &str = "door-controller";

    fn update(trust: &Trust, publisher: &PublisherKey, state: &State, version: u64) -> Verified {
        let manifest = Manifest {
            name: NAME.to_owned(),
            version,
            image_hash: Hash::of(b"image"),
            image_size_bytes: 5,
            minimum_version: version,
            expires_ms: 10,
        };
        let mut signed = SignedManifest::new(manifest).unwrap();
        signed.sign(publisher).unwrap();
        let mut image = state.admit(trust.check(&signed).unwrap(), 1).unwrap().image();
        image.write(b"image").unwrap();
        image.finish().unwrap()
    }

    #[test]
    fn a_state_file_keeps_accepted_versions() {
        let publisher = PublisherKey::from_seed([1; 32]);
        let trust = Trust::new(NAME, 1, [publisher.public_key().unwrap()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update.state");
        UpdateStateFile::create(&path, NAME).unwrap();
        assert!(matches!(UpdateStateFile::create(&path, NAME), Err(UpdateStateError::Exists { .. })));
        for version in 1..6 {
            let mut file = UpdateStateFile::open(&path).unwrap();
            assert!(matches!(UpdateStateFile::open(&path), Err(UpdateStateError::InUse { .. })));
            let verified = update(&trust, &publisher, file.state(), version);
            let before = std::fs::read(&path).unwrap();
            file.accept(&verified).unwrap();
            let state = UpdateStateFile::read(&path).unwrap();
            assert_eq!((&state, state.version()), (file.state(), version));
            // One slot alone has changed.
            let after = std::fs::read(&path).unwrap();
            let slots = |bytes: &[u8]| bytes.chunks(SLOT_BYTES).map(<[u8]>::to_vec).collect::<Vec<_>>();
            let changed =
                slots(&before).iter().zip(slots(&after)).filter(|(one, other)| **one != *other).count();
            assert_eq!(changed, 1);
        }
    }

    #[test]
    fn a_file_that_is_not_a_state_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("update.state");
        assert!(matches!(UpdateStateFile::read(&path), Err(UpdateStateError::Io { .. })));
        for bytes in [vec![], vec![0; STATE_BYTES - 1], vec![0; STATE_BYTES], vec![0; STATE_BYTES + 1]] {
            std::fs::write(&path, bytes).unwrap();
            assert!(matches!(UpdateStateFile::read(&path), Err(UpdateStateError::Damaged { .. })));
            assert!(matches!(UpdateStateFile::open(&path), Err(UpdateStateError::Damaged { .. })));
        }
    }

    #[test]
    fn a_trust_has_one_form() {
        let key = PublisherKey::from_seed([1; 32]).public_key().unwrap();
        let good = format!(r#"{{"name": "{NAME}", "threshold": 1, "keys": ["{key}"]}}"#);
        let trust = read_update_trust(good.as_bytes()).unwrap();
        assert_eq!((trust.name(), trust.threshold(), trust.keys()), (NAME, 1, &[key][..]));
        for (from, to) in [
            ("\"threshold\": 1", "\"threshold\": 2"),
            ("\"threshold\": 1, ", ""),
            ("\"keys\"", "\"more\": 1, \"keys\""),
            ("door-controller", "door controller"),
            (&key.to_string()[..10], "zz"),
        ] {
            read_update_trust(good.replace(from, to).as_bytes()).unwrap_err();
        }
    }
}
