//! Removes objects with all their versions, as far as Object Lock permits.

use std::fmt;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;

use super::{Bucket, Refusal};
use crate::error::Error;

/// The result of removing the versions below a prefix.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Removed {
    /// Versions and delete markers before the removal.
    pub(crate) versions: usize,
    /// Versions that the store did not delete.
    pub(crate) kept: usize,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Removed { versions, kept } = self;
        write!(f, "{} of {versions} versions are deleted, {kept} are kept by the store", versions - kept)
    }
}

impl Bucket {
    /// Deletes every version of the objects below a prefix for good, or only those that were stored before a time in
    /// Unix milliseconds. Delete markers stay above versions that stay.
    pub(crate) async fn remove_below(&self, prefix: &str, before_ms: Option<u64>) -> Result<Removed, Error> {
        let mut removed = Removed::default();
        for (key, version) in self.versions_below(prefix, before_ms).await? {
            removed.versions += 1;
            if !self.delete_version(&key, &version).await? {
                removed.kept += 1;
            }
        }
        Ok(removed)
    }

    /// Returns key and version of everything below a prefix.
    async fn versions_below(
        &self,
        prefix: &str,
        before_ms: Option<u64>,
    ) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = self.page(prefix, after.as_ref()).await?;
            let is_old = |time: Option<&aws_sdk_s3::primitives::DateTime>| {
                before_ms.is_none_or(|before| {
                    time.and_then(|time| time.to_millis().ok()).is_some_and(|ms| ms.cast_unsigned() < before)
                })
            };
            let versions = page.versions().iter().filter(|version| is_old(version.last_modified()));
            found.extend(versions.filter_map(|version| Some(owned((version.key()?, version.version_id()?)))));
            let markers = page.delete_markers().iter().filter(|marker| is_old(marker.last_modified()));
            found.extend(markers.filter_map(|marker| Some(owned((marker.key()?, marker.version_id()?)))));
            let next = after_page(&page);
            if next.is_none() || next == after {
                return Ok(found);
            }
            after = next;
        }
    }

    /// Returns a page of the versions below a prefix, after the end of another page.
    pub(super) async fn page(
        &self,
        prefix: &str,
        after: Option<&PageEnd>,
    ) -> Result<ListObjectVersionsOutput, Error> {
        let (key, version) = after.cloned().unzip();
        let list = self.client.list_object_versions().bucket(&self.name).prefix(prefix);
        let page = list.set_key_marker(key).set_version_id_marker(version.flatten()).send().await;
        page.map_err(|error| self.failed("list the versions", &Refusal::of(&error)))
    }
}

/// The end of a page of versions: a key, and a version of it.
pub(super) type PageEnd = (String, Option<String>);

/// Returns the end of a page if there is another page. A store that returns the same end as for the previous page
/// does not advance.
pub(super) fn after_page(page: &ListObjectVersionsOutput) -> Option<PageEnd> {
    let key = page.next_key_marker().filter(|_| page.is_truncated() == Some(true))?;
    Some((key.to_owned(), page.next_version_id_marker().map(str::to_owned)))
}

fn owned((key, version): (&str, &str)) -> (String, String) {
    (key.to_owned(), version.to_owned())
}
