//! Signatures of archived objects: Ed25519 by an operations key, over a statement that binds kind, name, cluster,
//! size and hash. docs/reference/archive.md has the formats.
//!
//! Once a key is named, in `ops.signing_key` or `ops.trusted_keys`, nothing without a signature of a trusted key is
//! extracted or replayed, unless `ops.allow_unsigned` is set.

use std::fmt;
use std::sync::{Arc, OnceLock};

use edgesentry_chain::{Hash, PublicKey, Signed, Signer, sign_with, verify_signature};
use edgesentry_rs::signer::KeySource;
use serde::{Deserialize, Serialize};

use crate::blocking::in_place;
use crate::error::Error;
use crate::settings::OpsSettings;

/// The kind of a signed object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// The manifest of a base backup.
    Backup,
    /// The manifest of a dump.
    Dump,
    /// A complete file of the write-ahead log.
    Wal,
    /// The beginning of a segment that is still being received.
    Receiving,
    /// One of the two objects that name the owner of the archive.
    Mark,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Backup => "backup",
            Kind::Dump => "dump",
            Kind::Wal => "wal",
            Kind::Receiving => "wal-receiving",
            Kind::Mark => "mark",
        })
    }
}

/// A signed object in the archive of a cluster. A signature does not cover the same bytes under another name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subject {
    /// The kind.
    pub kind: Kind,
    /// The name: the id of a backup, the name of a segment.
    pub name: String,
    /// The database system identifier of the cluster, as `pg_controldata` prints it.
    pub system_identifier: u64,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of the cluster {}", self.kind, self.name, self.system_identifier)
    }
}

/// Size and hash of bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    /// The number of bytes.
    pub size: u64,
    /// BLAKE3 of the bytes.
    pub hash: Hash,
}

impl Content {
    /// Returns size and hash of bytes in memory.
    pub fn of(bytes: &[u8]) -> Content {
        Content { size: bytes.len() as u64, hash: Hash::of(bytes) }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, BLAKE3 {}", self.size, self.hash)
    }
}

/// The storage format of a subject's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Form {
    /// Unchanged.
    Plain,
    /// Compressed with zstd.
    Zstd,
    /// Compressed with zstd, then encrypted with age.
    Age,
}

/// The signed statement about a subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Statement<'a> {
    /// The object.
    pub subject: &'a Subject,
    /// Its content.
    pub content: Content,
    /// Its storage format.
    pub form: Form,
    /// The stored bytes; for [`Form::Plain`] those of the content.
    pub stored: Content,
}

impl<'a> Statement<'a> {
    /// Returns a statement about bytes that are stored unchanged.
    pub fn plain(subject: &'a Subject, bytes: &[u8]) -> Statement<'a> {
        let content = Content::of(bytes);
        Statement { subject, content, form: Form::Plain, stored: content }
    }

    /// Returns the signed bytes. No other message that a key of EdgeSentry signs has their first line; a name without
    /// spaces and line breaks keeps the lines apart.
    fn message(&self) -> Result<Vec<u8>, String> {
        let Subject { kind, name, system_identifier } = self.subject;
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("{name:?} is not the name of an object of an archive"));
        }
        let form = match self.form {
            Form::Plain => "plain",
            Form::Zstd => "zstd",
            Form::Age => "age",
        };
        let mut text = format!(
            "edgesentry archive statement 1\nkind {kind}\nname {name}\nsystem {system_identifier}\nform {form}\n"
        );
        for (name, content) in [("content", self.content), ("stored", self.stored)] {
            text.push_str(&format!("{name} {} {}\n", content.size, content.hash));
        }
        Ok(text.into_bytes())
    }
}

/// A signature, and the key that made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    /// The public key.
    pub key: [u8; 32],
    /// R, then S.
    pub bytes: [u8; 64],
}

/// The signature of a manifest: an object of its own beside it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Sidecar {
    /// The version of the format.
    signature: u32,
    /// Hexadecimal.
    public_key: String,
    /// Hexadecimal.
    ed25519: String,
}

impl Sidecar {
    pub(crate) fn of(signature: &Signature) -> Sidecar {
        Sidecar {
            signature: 1,
            public_key: hex::encode(signature.key),
            ed25519: hex::encode(signature.bytes),
        }
    }

    /// Returns the signature, or `None` if its version is unknown.
    pub(crate) fn read(&self) -> Option<Signature> {
        let mut signature = Signature { key: [0; 32], bytes: [0; 64] };
        hex::decode_to_slice(&self.public_key, &mut signature.key).ok()?;
        hex::decode_to_slice(&self.ed25519, &mut signature.bytes).ok()?;
        (self.signature == 1).then_some(signature)
    }
}

/// The signature status of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Standing {
    /// A trusted key has signed it: the public key.
    Signed(String),
    /// No trusted key has signed it, which is accepted: no key is named in the settings, or `ops.allow_unsigned` is
    /// set.
    Unsigned,
}

/// The signing key and the trusted keys.
#[derive(Clone, Default)]
pub struct Trust {
    signing_key: Option<KeySource>,
    /// The signing key, once it was needed. A token keeps its session.
    signer: Arc<OnceLock<Arc<dyn Signer>>>,
    keys: Vec<PublicKey>,
    allow_unsigned: bool,
}

impl Trust {
    /// Reads the settings. The signing key is read when it is needed: a user who only lists an archive need not have
    /// it.
    ///
    /// # Errors
    /// [`Error::Unusable`] for an invalid trusted key, [`Error::Config`] for a signing key of another form.
    pub fn of(settings: &OpsSettings) -> Result<Trust, Error> {
        let keys = settings.trusted_keys.iter().map(|text| {
            text.parse().map_err(|error: edgesentry_chain::KeyError| {
                Error::unusable("ops.trusted_keys: expected public keys as eds inspect-key shows them", error)
            })
        });
        Ok(Trust {
            signing_key: signing_key(settings)?,
            signer: Arc::default(),
            keys: keys.collect::<Result<_, _>>()?,
            allow_unsigned: settings.allow_unsigned,
        })
    }

    /// Returns true if a key is named, so that signatures count.
    pub(crate) fn is_used(&self) -> bool {
        self.signs() || !self.keys.is_empty()
    }

    /// Returns true if new objects are signed.
    pub fn signs(&self) -> bool {
        self.signing_key.is_some()
    }

    /// Signs a statement; returns `None` if no key is named.
    ///
    /// # Errors
    /// The key cannot be read, or this configuration does not trust it.
    pub fn sign(&self, statement: &Statement<'_>) -> Result<Option<Signature>, Error> {
        let Some((source, signer)) = self.signing_key.as_ref().zip(self.signer()?) else { return Ok(None) };
        let public = *signer.public_key().as_bytes();
        if !self.keys.is_empty() && !self.keys.iter().any(|trusted| *trusted.as_bytes() == public) {
            return Err(Error::Config(format!(
                "{}: its public key {} is not in ops.trusted_keys, so nothing signed with it could be restored; add \
                 it there",
                source.file().map_or_else(|| "ops.signing_key".to_owned(), |path| path.display().to_string()),
                hex::encode(public)
            )));
        }
        let message = statement.message().map_err(Error::Config)?;
        let sign = || sign_with(&*signer, &message);
        // In place: the other tasks of the runtime go on.
        let bytes = if signer.may_block() { in_place(sign) } else { sign() };
        let bytes = bytes.map_err(edgesentry_rs::Error::Signer)?;
        Ok(Some(Signature { key: public, bytes }))
    }

    /// Returns the status of a statement's signature by a trusted key, or why no signature counts.
    ///
    /// # Errors
    /// One sentence for [`Error::Archive`]; [`Error::Unusable`] if a key cannot be read.
    pub fn verify(
        &self,
        statement: &Statement<'_>,
        signature: Option<&Signature>,
    ) -> Result<Result<Standing, String>, Error> {
        let keys = self.trusted()?;
        Ok(match signature {
            None if keys.is_empty() || self.allow_unsigned => Ok(Standing::Unsigned),
            None => Err(format!(
                "{}: it is not signed; if it is from before ops.signing_key was set, accept it with --allow-unsigned",
                statement.subject
            )),
            Some(_) if keys.is_empty() && self.allow_unsigned => Ok(Standing::Unsigned),
            Some(signature) => verify(statement, signature, &keys),
        })
    }

    fn trusted(&self) -> Result<Vec<PublicKey>, Error> {
        if !self.keys.is_empty() {
            return Ok(self.keys.clone());
        }
        Ok(self.signer()?.map(|signer| *signer.public_key()).into_iter().collect())
    }

    fn signer(&self) -> Result<Option<Arc<dyn Signer>>, Error> {
        let Some(source) = &self.signing_key else { return Ok(None) };
        // A file is read each time: its permissions may have changed.
        if source.file().is_some() {
            return open_signing_key(source).map(Some);
        }
        if let Some(signer) = self.signer.get() {
            return Ok(Some(Arc::clone(signer)));
        }
        let signer = in_place(|| open_signing_key(source))?;
        Ok(Some(Arc::clone(self.signer.get_or_init(|| signer))))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("signing_key", &self.signing_key)
            .field("keys", &self.keys)
            .field("allow_unsigned", &self.allow_unsigned)
            .finish_non_exhaustive()
    }
}

/// Returns the signing key of the settings.
///
/// # Errors
/// [`Error::Config`] if it has another form.
pub fn signing_key(settings: &OpsSettings) -> Result<Option<KeySource>, Error> {
    let source = settings.signing_key.as_deref().map(KeySource::parse).transpose();
    source.map_err(|problem| Error::Config(format!("ops.signing_key: {problem}")))
}

/// Opens the signing key of the settings.
///
/// # Errors
/// The file, the token or the program cannot be used.
pub fn open_signing_key(source: &KeySource) -> Result<Arc<dyn Signer>, Error> {
    source.open().map_err(|error| match error {
        error @ edgesentry_rs::Error::Config(_) => Error::unusable(
            "ops.signing_key: the user that runs this command, or its group, must be able to read it, and without \
             it nothing is archived",
            error,
        ),
        error => error.into(),
    })
}

fn verify(statement: &Statement<'_>, signature: &Signature, keys: &[PublicKey]) -> Result<Standing, String> {
    let (subject, name) = (statement.subject, hex::encode(signature.key));
    if keys.is_empty() {
        return Err(format!(
            "{subject}: the key {name} has signed it, and no key is trusted; add it to ops.trusted_keys if it is yours"
        ));
    }
    let Some(key) = keys.iter().find(|key| *key.as_bytes() == signature.key) else {
        return Err(format!(
            "{subject}: the key {name} has signed it, which is not in ops.trusted_keys; add it there if it is yours"
        ));
    };
    let message = statement.message()?;
    if verify_signature(&Signed { key, message: &message, signature: &signature.bytes }) {
        return Ok(Standing::Signed(name));
    }
    Err(format!(
        "{subject}: the signature of the key {name} is not for this content under this name; it was altered, or is of \
         another name or cluster"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &std::path::Path, seed: u8) -> OpsSettings {
        let path = folder.join(format!("{seed}.seed"));
        let _ = edgesentry_formats::create_seed_file(&path, &[seed; 32]);
        OpsSettings { signing_key: Some(path), ..OpsSettings::default() }
    }

    fn public(seed: u8) -> String {
        edgesentry_chain::SeedSigner::new([seed; 32]).unwrap().public_key().to_string()
    }

    fn trusting(keys: &[u8]) -> Trust {
        let trusted_keys = keys.iter().map(|seed| public(*seed)).collect();
        Trust::of(&OpsSettings { trusted_keys, ..OpsSettings::default() }).unwrap()
    }

    fn subject() -> Subject {
        Subject { kind: Kind::Wal, name: "000000010000000000000003".to_owned(), system_identifier: 77 }
    }

    #[test]
    fn a_signature_holds_for_its_own_kind_name_cluster_and_content_only() {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::of(&settings(folder.path(), 1)).unwrap();
        let subject = subject();
        let statement = Statement::plain(&subject, b"content");
        let signature = trust.sign(&statement).unwrap().unwrap();
        let check = |statement: &Statement<'_>, signature: &Signature| {
            trusting(&[2, 1]).verify(statement, Some(signature)).unwrap()
        };
        assert_eq!(check(&statement, &signature), Ok(Standing::Signed(public(1))));

        let others = [
            Subject { kind: Kind::Receiving, ..subject.clone() },
            Subject { kind: Kind::Backup, ..subject.clone() },
            Subject { name: "000000010000000000000004".to_owned(), ..subject.clone() },
            Subject { name: "000000020000000000000003".to_owned(), ..subject.clone() },
            Subject { name: "000000010000000000000003\n".to_owned(), ..subject.clone() },
            Subject { system_identifier: 78, ..subject.clone() },
        ];
        for other in &others {
            assert!(check(&Statement { subject: other, ..statement }, &signature).is_err(), "{other}");
        }
        let content = Content::of(b"other");
        for other in [
            Statement { content, ..statement },
            Statement { stored: content, ..statement },
            Statement { form: Form::Age, ..statement },
            Statement { content: Content { size: 8, ..statement.content }, ..statement },
        ] {
            assert!(check(&other, &signature).is_err(), "{other:?}");
        }
        for at in [0, 31, 32, 63] {
            let mut bytes = signature.bytes;
            bytes[at] ^= 1;
            assert!(check(&statement, &Signature { bytes, ..signature }).is_err(), "{at}");
        }
    }

    #[test]
    fn nothing_unsigned_or_of_an_unknown_key_is_accepted_once_a_key_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let subject = subject();
        let statement = Statement::plain(&subject, b"content");
        let signed = Trust::of(&settings(folder.path(), 1)).unwrap().sign(&statement).unwrap();
        let no_key = Trust::of(&OpsSettings::default()).unwrap();
        let verify =
            |trust: &Trust, signature: Option<&Signature>| trust.verify(&statement, signature).unwrap();

        assert_eq!(no_key.sign(&statement).unwrap(), None);
        assert_eq!(verify(&no_key, None), Ok(Standing::Unsigned));
        assert!(verify(&no_key, signed.as_ref()).unwrap_err().contains("no key is trusted"));
        for trust in [trusting(&[1]), trusting(&[2, 3]), Trust::of(&settings(folder.path(), 1)).unwrap()] {
            assert!(verify(&trust, None).unwrap_err().contains("--allow-unsigned"));
        }
        assert!(verify(&trusting(&[2, 3]), signed.as_ref()).unwrap_err().contains("not in ops.trusted_keys"));

        // An object signed by an untrusted key does not count as unsigned.
        let lax = |mut trust: Trust| {
            trust.allow_unsigned = true;
            trust
        };
        assert_eq!(verify(&lax(trusting(&[1])), None), Ok(Standing::Unsigned));
        assert!(verify(&lax(trusting(&[2])), signed.as_ref()).is_err());
        assert_eq!(verify(&lax(no_key), signed.as_ref()), Ok(Standing::Unsigned));
    }

    #[test]
    fn a_key_that_cannot_be_used_is_one_sentence_and_signs_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let subject = subject();
        let statement = Statement::plain(&subject, b"content");
        let mut settings = settings(folder.path(), 1);
        settings.trusted_keys = vec![public(2)];
        let error = Trust::of(&settings).unwrap().sign(&statement).unwrap_err().to_string();
        assert!(error.contains("is not in ops.trusted_keys") && error.contains(&public(1)), "{error}");
        settings.trusted_keys = vec![public(2), public(1)];
        assert!(Trust::of(&settings).unwrap().sign(&statement).unwrap().is_some());

        let path = settings.signing_key.clone().unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = Trust::of(&settings).unwrap().sign(&statement).unwrap_err().describe();
        assert!(error.starts_with("ops.signing_key: ") && error.contains("chmod 640"), "{error}");
        // The archiver of PostgreSQL and the units are different users of one group.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Trust::of(&settings).unwrap().sign(&statement).unwrap().is_some());
        std::fs::remove_file(&path).unwrap();
        let error = Trust::of(&settings).unwrap().sign(&statement).unwrap_err().to_string();
        assert!(error.starts_with("ops.signing_key: ") && error.contains("nothing is archived"), "{error}");
        settings.trusted_keys = vec!["hush".to_owned()];
        let error = Trust::of(&settings).unwrap_err().to_string();
        assert!(error.starts_with("ops.trusted_keys: "), "{error}");
    }
}
