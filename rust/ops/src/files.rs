//! The files of a backup or a dump: storing them in the archive, and reading them back unchanged.

use std::fs::File;
use std::path::Path;

use edgesentry_chain::Hash;
use edgesentry_rs::error::FailureKind;
use edgesentry_rs::objects::{Write, Written};
use serde::{Deserialize, Serialize};

use crate::archive::Archive;
use crate::blocking::blocking;
use crate::check::Check;
use crate::error::Error;
use crate::observe::{Event, Observer};

/// A file of a backup or a dump.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// BLAKE3 of its bytes.
    pub blake3: Hash,
    /// If the file is encrypted: the stored bytes, under its name with `.age`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted: Option<Encrypted>,
}

/// The encrypted bytes of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Encrypted {
    /// The number of bytes.
    pub size_bytes: u64,
    /// BLAKE3 of the bytes.
    pub blake3: Hash,
}

impl StoredFile {
    /// Returns the key, the size and the hash of the object under a prefix.
    fn stored(&self, prefix: &str) -> (String, u64, Hash) {
        match self.encrypted {
            Some(stored) => (format!("{prefix}/{}.age", self.name), stored.size_bytes, stored.blake3),
            None => (format!("{prefix}/{}", self.name), self.size_bytes, self.blake3),
        }
    }
}

/// Returns the stored size of files.
pub(crate) fn stored_bytes(files: &[StoredFile]) -> u64 {
    files.iter().map(|file| file.stored("").1).sum()
}

/// Archives all files of a directory under a prefix, each once, encrypted if the settings require it.
pub(crate) async fn store(
    archive: &Archive,
    prefix: &str,
    folder: &Path,
    observer: Observer<'_>,
) -> Result<Vec<StoredFile>, Error> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (size_bytes, blake3) = measure(&path).await?;
        files.push((StoredFile { name, size_bytes, blake3, encrypted: None }, path));
    }
    files.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let (mut done, total) = (0, files.iter().map(|(file, _)| file.size_bytes).sum());
    for (file, path) in &mut files {
        if archive.encryption().is_on() {
            // One at a time: the disk needs room for the largest encrypted file beside the plain ones.
            let (encryption, plain) = (archive.encryption().clone(), path.clone());
            let encrypted = folder.with_file_name(format!("{}.age", file.name));
            let out = encrypted.clone();
            blocking(move || encryption.encrypt(&plain, &out)).await?;
            let (size_bytes, blake3) = measure(&encrypted).await?;
            file.encrypted = Some(Encrypted { size_bytes, blake3 });
            *path = encrypted;
        }
        let (key, ..) = file.stored(prefix);
        if archive.objects().put_file(&key, path, Write::IfAbsent).await? == Written::Taken {
            return Err(archive
                .problem(format!("{key}: already exists; two backups began at the same time, try again")));
        }
        if file.encrypted.is_some() {
            std::fs::remove_file(&*path).map_err(Error::io("delete", path))?;
        }
        done += file.size_bytes;
        observer(Event::Bytes { done, total });
    }
    Ok(files.into_iter().map(|(file, _)| file).collect())
}

/// Downloads files into a new directory and decrypts them. Returns a check of each file's hash.
pub(crate) async fn download(
    archive: &Archive,
    prefix: &str,
    files: &[StoredFile],
    folder: &Path,
    observer: Observer<'_>,
) -> Result<Vec<Check>, Error> {
    observer(Event::Step("download"));
    std::fs::create_dir(folder).map_err(Error::io("create a directory", folder))?;
    let (mut checks, mut done, total) = (Vec::new(), 0, stored_bytes(files));
    for file in files {
        checks.push(download_one(archive, prefix, file, folder).await?);
        done += file.stored(prefix).1;
        observer(Event::Bytes { done, total });
    }
    Ok(checks)
}

/// Downloads a file into a directory and decrypts it.
pub(crate) async fn download_one(
    archive: &Archive,
    prefix: &str,
    file: &StoredFile,
    folder: &Path,
) -> Result<Check, Error> {
    let name = format!("{} is unchanged since it was archived", file.name);
    if file.name.is_empty() || file.name.starts_with('.') || file.name.contains('/') {
        return Ok(Check::new(name, false, "invalid file name"));
    }
    let (key, stored_bytes, stored_hash) = file.stored(prefix);
    let path = folder.join(&file.name);
    let downloaded =
        if file.encrypted.is_some() { folder.join(format!("{}.age", file.name)) } else { path.clone() };
    match archive.objects().get_file(&key, &downloaded, stored_bytes).await {
        Ok(Some(_)) => {}
        Ok(None) => return Ok(Check::new(name, false, format!("{key} is missing"))),
        Err(error) if error.kind == FailureKind::Item => {
            return Ok(Check::new(name, false, Error::from(error).describe()));
        }
        Err(error) => return Err(error.into()),
    }
    let (size, hash) = measure(&downloaded).await?;
    let evidence = format!("{size} bytes, BLAKE3 {hash}; expected {stored_bytes} bytes, {stored_hash}");
    let is_same = (size, hash) == (stored_bytes, stored_hash);
    if file.encrypted.is_none() || !is_same {
        return Ok(Check::new(name, is_same, evidence));
    }
    if !archive.encryption().has_identity() {
        return Ok(Check::unknown(
            name,
            format!("{evidence}; it is encrypted, and ops.identity names no identity to decrypt it with"),
        ));
    }
    let (encryption, encrypted, out) = (archive.encryption().clone(), downloaded.clone(), path.clone());
    blocking(move || {
        let input = File::open(&encrypted).map_err(Error::io("read", &encrypted))?;
        encryption.decrypt(input, &encrypted, &out)
    })
    .await?;
    std::fs::remove_file(&downloaded).map_err(Error::io("delete", &downloaded))?;
    let (size, hash) = measure(&path).await?;
    let decrypted = format!("{evidence}; decrypted {size} bytes, BLAKE3 {hash}");
    Ok(Check::new(name, (size, hash) == (file.size_bytes, file.blake3), decrypted))
}

/// Returns size and BLAKE3 of a file.
async fn measure(path: &Path) -> Result<(u64, Hash), Error> {
    let path = path.to_owned();
    blocking(move || {
        let mut hasher = blake3::Hasher::new();
        let file = File::open(&path);
        let copied = file.and_then(|mut file| std::io::copy(&mut file, &mut hasher));
        let size = copied.map_err(Error::io("read", &path))?;
        Ok((size, Hash(hasher.finalize().into())))
    })
    .await
}
