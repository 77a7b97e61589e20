//! The two objects that name the owner of an archive: `archive.json` names the cluster, `adopted.json` the restored
//! copy that it was handed over to. Both are signed as manifests are, and verified before they are used.
//!
//! A writer signs `archive.json` by itself, since it knows the cluster from its own server. `adopted.json` is signed
//! by [`adopt`](crate::adopt::adopt), and by [`sign`] for an older archive or after the key was replaced.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::adopt::Adopted;
use crate::archive::{Archive, Identity};
use crate::error::Error;
use crate::signature::{Kind, Standing, Subject};

/// The object that names the cluster.
pub(crate) const MARK: &str = "archive.json";
/// The object that names the copy.
pub(crate) const ADOPTED: &str = "adopted.json";

/// Returns the signed subject of a mark.
pub(crate) fn subject(key: &str, identity: Identity) -> Subject {
    Subject { kind: Kind::Mark, name: key.to_owned(), system_identifier: identity.system_identifier }
}

/// Reads a mark, and checks that a trusted key has signed it. Without a key in the settings the signature is not
/// checked here; the other signed objects are rejected then.
pub(crate) async fn read<T: DeserializeOwned>(
    archive: &Archive,
    key: &str,
    subject: impl FnOnce(&T) -> Subject,
) -> Result<Option<(T, Result<Standing, String>)>, Error> {
    if archive.trust().is_used() {
        return archive.read_signed(key, subject).await;
    }
    Ok(archive.read_json(key).await?.map(|mark| (mark, Ok(Standing::Unsigned))))
}

/// Returns the error for a mark that no trusted key has signed.
pub(crate) fn unsigned(archive: &Archive, problem: String) -> Error {
    archive.problem(format!("{problem}; if its content is correct, sign it with eds ops sign-archive"))
}

/// Returns the copy that an archive was handed over to, and whether a trusted key has signed that.
pub(crate) async fn stated_adoption(
    archive: &Archive,
) -> Result<Option<(Adopted, Result<Standing, String>)>, Error> {
    // The signature covers the cluster, so that the signature of another archive is invalid here.
    let Some((identity, _)) = archive.stated_identity().await? else { return Ok(None) };
    read(archive, ADOPTED, |_| subject(ADOPTED, identity)).await
}

/// A mark in the archive.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Mark {
    /// Its key.
    pub key: &'static str,
    /// Its content.
    pub content: Value,
    /// The trusted key that has signed it.
    pub signed_by: Option<String>,
    /// Why no signature counts, if that is so.
    pub problem: Option<String>,
}

/// Returns the marks of the archive; signs them first with the key of the settings if `apply` is true.
///
/// # Errors
/// There is no archive, or the settings name no signing key.
pub async fn sign(archive: &Archive, apply: bool) -> Result<Vec<Mark>, Error> {
    let stated = archive.stated_identity().await?;
    let (identity, _) = stated.ok_or_else(|| archive.no_archive())?;
    if apply && !archive.trust().signs() {
        return Err(Error::Config("no signing key is set; set ops.signing_key".to_owned()));
    }
    let mut marks = Vec::new();
    for key in [MARK, ADOPTED] {
        let subject = subject(key, identity);
        let Some(content) = archive.read_json::<Value>(key).await? else { continue };
        if apply {
            archive.sign(key, &subject, &content).await?;
        }
        let read = read::<Value>(archive, key, |_| subject).await?;
        let (content, standing) = read.ok_or_else(|| archive.problem(format!("{key}: is missing")))?;
        let (signed_by, problem) = match standing {
            Ok(Standing::Signed(key)) => (Some(key), None),
            Ok(Standing::Unsigned) => (None, None),
            Err(problem) => (None, Some(problem)),
        };
        marks.push(Mark { key, content, signed_by, problem });
    }
    Ok(marks)
}
