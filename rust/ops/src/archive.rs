//! The archive: base backups, dumps and write-ahead log of one PostgreSQL cluster, in a bucket or in a directory.
//!
//! ```text
//! archive.json                                    its cluster; nothing is archived or fetched without it
//! adopted.json                                    the restored copy that it was handed over to; others are refused
//! archive.json.sig, adopted.json.sig              their signatures
//! trial.json                                      left by `archive-wal --check`
//! wal/00000001/000000010000000000000003.zst       a segment; also its .backup and .partial; its signature is in it
//! wal/00000002.history.zst                        a timeline
//! partial/000000010000000000000004.zst            a segment that is still being received; replaced, at last deleted
//! backups/ID/base.tar.gz ... backups/ID/backup.json    the manifest is written last: without it there is no backup
//! dumps/ID/ledger.dump, dumps/ID/dump.json
//! backups/ID/backup.json.sig, dumps/ID/dump.json.sig    the signature of the manifest, written before it
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use edgesentry_rs::error::Component;
use edgesentry_rs::objects::{self, Objects, Write, Written};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::encryption::Encryption;
use crate::error::Error;
use crate::marks::{self, MARK};
use crate::settings::{OpsSettings, Settings};
use crate::signature::{Sidecar, Signature, Standing, Statement, Subject, Trust};
use crate::temporary::Temporary;
use crate::wal::packed;

/// The largest segment size that PostgreSQL supports.
pub(crate) const MAX_SEGMENT_BYTES: u64 = 1 << 30;
/// The version of the layout.
const LAYOUT: u32 = 1;

/// The cluster that an archive belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The database system identifier, as `pg_controldata` prints it.
    #[serde(with = "as_text")]
    pub system_identifier: u64,
    /// The size of a write-ahead log segment.
    pub wal_segment_bytes: u64,
}

impl Identity {
    /// Returns true if segments can have this size: 1 MiB to 1 GiB, powers of two.
    pub(crate) fn is_possible(self) -> bool {
        let sizes = (1 << 20)..=MAX_SEGMENT_BYTES;
        sizes.contains(&self.wal_segment_bytes) && self.wal_segment_bytes.is_power_of_two()
    }
}

#[derive(PartialEq, Serialize, Deserialize)]
struct Mark {
    archive: u32,
    #[serde(flatten)]
    identity: Identity,
}

/// An archive.
#[derive(Clone)]
pub struct Archive {
    objects: Arc<dyn Objects>,
    /// The directory for temporary files, if the settings name one.
    temp: Option<PathBuf>,
    trust: Trust,
    encryption: Encryption,
}

impl Archive {
    /// Opens the archive of the settings, `ops.archive`.
    ///
    /// # Errors
    /// No archive is set, a setting or a key cannot be used, or the object store cannot be opened.
    pub async fn open(settings: &Settings) -> Result<Archive, Error> {
        let Some(url) = &settings.ops.archive else {
            let message = "no archive is set; set ops.archive to s3://BUCKET/PREFIX or folder:PATH";
            return Err(Error::Config(message.to_owned()));
        };
        let s3 = settings.ops.s3.as_ref().unwrap_or(&settings.stores.s3);
        let objects = objects::open(url, s3, Component::Archive).await?;
        Archive::of(objects, &settings.ops)
    }

    fn of(objects: Arc<dyn Objects>, settings: &OpsSettings) -> Result<Archive, Error> {
        let (trust, encryption) = (Trust::of(settings)?, Encryption::of(settings)?);
        Ok(Archive { objects, temp: settings.temp.clone(), trust, encryption })
    }

    /// Opens an archive in a directory, for tests.
    #[cfg(test)]
    pub(crate) fn of_folder(folder: &Path, settings: &OpsSettings) -> Result<Archive, Error> {
        Archive::of(Arc::new(objects::FolderObjects::open(folder, Component::Archive)?), settings)
    }

    /// Returns the key that signs new objects, and the trusted keys.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Returns the recipients for whom the archive is encrypted.
    pub(crate) fn encryption(&self) -> &Encryption {
        &self.encryption
    }

    /// Returns the location of the archive, without secrets.
    pub fn place(&self) -> &str {
        self.objects.place()
    }

    /// Returns the object store of the archive.
    pub fn objects(&self) -> &dyn Objects {
        &*self.objects
    }

    /// Creates a temporary directory that is removed when dropped: in `ops.temp`, else in the system's temporary
    /// directory, else, if the user that PostgreSQL runs as cannot write there, in the current one. For the commands
    /// that PostgreSQL runs this is its data directory; base backups leave out files whose names begin with
    /// `pgsql_tmp` (<https://www.postgresql.org/docs/current/protocol-replication.html>, BASE_BACKUP).
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn temporary(&self) -> Result<Temporary, Error> {
        let make = Temporary::new;
        let preferred = self.temp.clone().unwrap_or_else(std::env::temp_dir);
        let made = match make("edgesentry-ops-", &preferred) {
            Err(error) if self.temp.is_none() && error.kind() == ErrorKind::PermissionDenied => {
                make("pgsql_tmp_edgesentry-", Path::new(".")).map_err(|_| error)
            }
            made => made,
        };
        made.map_err(Error::io("create a temporary directory", &preferred))
    }

    /// Returns the cluster of the archive, or `None` if nothing was ever archived, provably.
    ///
    /// # Errors
    /// Also if a key is configured and no trusted key has signed the identity.
    pub async fn identity(&self) -> Result<Option<Identity>, Error> {
        let Some((identity, standing)) = self.stated_identity().await? else { return Ok(None) };
        standing.map_err(|problem| marks::unsigned(self, problem))?;
        Ok(Some(identity))
    }

    /// Returns the stated cluster of the archive, and whether a trusted key has signed it; if not, the reason.
    pub(crate) async fn stated_identity(
        &self,
    ) -> Result<Option<(Identity, Result<Standing, String>)>, Error> {
        let subject = |mark: &Mark| marks::subject(MARK, mark.identity);
        let Some((mark, standing)) = marks::read(self, MARK, subject).await? else { return Ok(None) };
        if mark.archive > LAYOUT {
            return Err(self.problem(format!("its layout is {}, newer than this eds supports", mark.archive)));
        }
        if !mark.identity.is_possible() {
            let bytes = mark.identity.wal_segment_bytes;
            return Err(
                self.problem(format!("{MARK}: is damaged: {bytes} bytes are not a valid segment size"))
            );
        }
        Ok(Some((mark.identity, standing)))
    }

    /// Returns the cluster of the archive, which must exist: a wrong bucket or prefix is not an empty archive.
    ///
    /// # Errors
    /// There is no archive; also the errors of [`Archive::identity`].
    pub async fn existing_identity(&self) -> Result<Identity, Error> {
        self.identity().await?.ok_or_else(|| self.no_archive())
    }

    pub(crate) fn no_archive(&self) -> Error {
        self.problem(format!(
            "there is no archive: {MARK} is missing; check the bucket, the directory and the prefix"
        ))
    }

    /// Claims the archive for a cluster, or rejects it if it belongs to another cluster. The caller knows the
    /// identity from the cluster itself, so this also signs an unsigned identity.
    ///
    /// # Errors
    /// The archive belongs to another cluster, or cannot be read or written.
    pub async fn claim(&self, identity: Identity) -> Result<(), Error> {
        let mut there = self.stated_identity().await?;
        if there.is_none() {
            self.write_json(MARK, &Mark { archive: LAYOUT, identity }).await?;
            there = self.stated_identity().await?;
        }
        let missing = || self.problem(format!("{MARK} was deleted meanwhile"));
        let (there, standing) = there.ok_or_else(missing)?;
        if there == identity {
            if self.trust.signs() && !matches!(standing, Ok(Standing::Signed(_))) {
                let mark = Mark { archive: LAYOUT, identity };
                self.sign(MARK, &marks::subject(MARK, identity), &mark).await?;
            }
            return Ok(());
        }
        Err(self.problem(format!(
            "it belongs to the cluster {}, and this is the cluster {}; use another prefix, and never archive a \
             restored copy or a drill into the archive of the original",
            there.system_identifier, identity.system_identifier
        )))
    }

    /// Writes an object if it does not exist yet.
    pub(crate) async fn write_json(&self, key: &str, content: &impl Serialize) -> Result<Written, Error> {
        Ok(self.objects.put(key, self.json(key, content)?, Write::IfAbsent).await?)
    }

    /// Replaces the signature of an object, then the object.
    pub(crate) async fn replace_signed(
        &self,
        key: &str,
        subject: &Subject,
        content: &impl Serialize,
    ) -> Result<(), Error> {
        let json = self.json(key, content)?;
        self.write_signature(key, &Statement::plain(subject, &json), Write::Replace).await?;
        self.objects.put(key, json, Write::Replace).await?;
        Ok(())
    }

    /// Signs an existing object if it has the content that the caller expects.
    pub(crate) async fn sign<T: DeserializeOwned + PartialEq>(
        &self,
        key: &str,
        subject: &Subject,
        content: &T,
    ) -> Result<(), Error> {
        let bytes = self.objects.get(key).await?.ok_or_else(|| self.problem(format!("{key}: is missing")))?;
        if self.parse::<T>(key, &bytes)? != *content {
            return Err(self.problem(format!("{key}: it was replaced while it was read, and is not signed")));
        }
        self.write_signature(key, &Statement::plain(subject, &bytes), Write::Replace).await?;
        Ok(())
    }

    /// Signs the object at a key, if the settings name a signing key.
    async fn write_signature(
        &self,
        key: &str,
        statement: &Statement<'_>,
        write: Write,
    ) -> Result<Written, Error> {
        let Some(signature) = self.trust.sign(statement)? else { return Ok(Written::Stored) };
        let sidecar = signature_key(key);
        let json = self.json(&sidecar, &Sidecar::of(&signature))?;
        Ok(self.objects.put(&sidecar, json, write).await?)
    }

    fn json(&self, key: &str, content: &impl Serialize) -> Result<Bytes, Error> {
        let json = serde_json::to_vec_pretty(content)
            .map_err(|error| self.problem(format!("{key}: cannot be written as JSON: {error}")))?;
        Ok(Bytes::from(json))
    }

    /// Writes the signature of a manifest, then the manifest, if it does not exist yet.
    pub(crate) async fn write_manifest(
        &self,
        key: &str,
        subject: &Subject,
        content: &impl Serialize,
    ) -> Result<Written, Error> {
        let json = self.json(key, content)?;
        let statement = Statement::plain(subject, &json);
        if self.write_signature(key, &statement, Write::IfAbsent).await? == Written::Taken {
            return Ok(Written::Taken);
        }
        Ok(self.objects.put(key, json, Write::IfAbsent).await?)
    }

    /// Checks that a trusted key has signed the manifest that was read as `manifest`; if not, returns the reason.
    pub(crate) async fn verify_manifest<T: DeserializeOwned + PartialEq>(
        &self,
        key: &str,
        subject: &Subject,
        manifest: &T,
    ) -> Result<Result<Standing, String>, Error> {
        let read = self.read_signed::<T>(key, |_| subject.clone()).await?;
        let (read, standing) = read.ok_or_else(|| self.problem(format!("{key}: is missing")))?;
        Ok(if read == *manifest {
            standing
        } else {
            Err(format!("{key}: it was replaced while it was read"))
        })
    }

    /// Reads an object, and checks that a trusted key has signed it under the name from `subject`; if not, returns
    /// the reason.
    pub(crate) async fn read_signed<T: DeserializeOwned>(
        &self,
        key: &str,
        subject: impl FnOnce(&T) -> Subject,
    ) -> Result<Option<(T, Result<Standing, String>)>, Error> {
        let Some(json) = self.objects.get(key).await? else { return Ok(None) };
        let content: T = self.parse(key, &json)?;
        let subject = subject(&content);
        let signature = self.signature_of(key).await?;
        let standing = self.trust.verify(&Statement::plain(&subject, &json), signature.as_ref())?;
        Ok(Some((content, standing)))
    }

    async fn signature_of(&self, key: &str) -> Result<Option<Signature>, Error> {
        let sidecar = signature_key(key);
        let Some(read) = self.read_json::<Sidecar>(&sidecar).await? else { return Ok(None) };
        let damaged =
            || self.problem(format!("{sidecar}: is damaged, or its format is newer than this eds supports"));
        read.read().ok_or_else(damaged).map(Some)
    }

    /// Reads an object. Returns `None` if it provably does not exist.
    pub(crate) async fn read_json<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(json) = self.objects.get(key).await? else { return Ok(None) };
        self.parse(key, &json).map(Some)
    }

    fn parse<T: DeserializeOwned>(&self, key: &str, json: &[u8]) -> Result<T, Error> {
        serde_json::from_slice(json).map_err(|error| self.problem(format!("{key}: is damaged: {error}")))
    }

    /// Returns an error about the content of the archive.
    pub(crate) fn problem(&self, problem: String) -> Error {
        Error::Archive { place: self.place().to_owned(), problem }
    }

    /// Reads a packed file of the write-ahead log into a new file; fails if it does not exist.
    pub(crate) async fn fetch(&self, key: &str, file: &Path) -> Result<u64, Error> {
        let read = self.objects.get_file(key, file, packed::largest(MAX_SEGMENT_BYTES)).await?;
        read.ok_or_else(|| self.problem(format!("{key}: is missing")))
    }
}

/// Returns the key of a manifest's signature.
fn signature_key(manifest: &str) -> String {
    format!("{manifest}.sig")
}

/// A number as text: JSON readers with 53-bit numbers would damage it.
mod as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
