//! The objects that a key, a prefix or a pattern stands for.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use edgesentry_formats::{Error, MAX_FILES, Pattern, TableKind, Tables, has_pattern, is_hidden};

use super::{Bucket, Listed};
use crate::error::{BoxError, FailureKind};
use crate::s3::{self, milliseconds};

/// Maximum number of keys that are looked at.
const MAX_KEYS: usize = 1_000_000;

impl Bucket {
    /// Returns the objects of a key, in the order of their paths.
    pub(super) async fn find(&self, key: &str) -> Result<Vec<Listed>, Error> {
        if !key.is_empty() && !key.ends_with('/') {
            if let Some(object) = self.head(key).await? {
                return Ok(vec![object]);
            }
            if has_pattern(key) {
                return self.like(key).await;
            }
        }
        let folder = if key.is_empty() || key.ends_with('/') { key.to_owned() } else { format!("{key}/") };
        let found = self.below(&folder, &|_| true).await?;
        if found.is_empty() {
            return Err(self.missing(key, "there is no such object, and no object below it"));
        }
        Ok(found)
    }

    async fn like(&self, key: &str) -> Result<Vec<Listed>, Error> {
        let first = key.find(['*', '?', '[']).unwrap_or(key.len());
        let folder = &key[..key[..first].rfind('/').map_or(0, |at| at + 1)];
        let pattern = Pattern::new(&key[folder.len()..]).map_err(|problem| self.unreadable(key, &problem))?;
        let found = self.below(folder, &|name| pattern.matches(name)).await?;
        if found.is_empty() {
            return Err(self.missing(key, "no object has a key of this pattern"));
        }
        Ok(found)
    }

    /// Returns the objects below a prefix whose remaining key matches.
    async fn below(&self, folder: &str, matches: &dyn Fn(&str) -> bool) -> Result<Vec<Listed>, Error> {
        self.refuse_part_of_table(folder).await?;
        let (mut found, mut tables, mut keys, mut token) = (Vec::new(), Tables::default(), 0, None);
        loop {
            let page = self.page(folder, token, None).await?;
            for object in page.contents() {
                let Some(key) = object.key() else { continue };
                let Some(name) = key.strip_prefix(folder) else {
                    return Err(self.unreadable(folder, "the server lists keys of another prefix"));
                };
                keys += 1;
                see(&mut tables, folder, name);
                // A key that ends with a slash stands for a directory.
                let is_folder = (name.is_empty() || name.ends_with('/')) && object.size() == Some(0);
                if is_folder || name.split('/').any(is_hidden) || !matches(name) {
                    continue;
                }
                let bytes = object.size().and_then(|size| u64::try_from(size).ok());
                let (Some(bytes), Some(etag)) = (bytes, object.e_tag()) else {
                    return Err(self.unreadable(key, "the server lists it without size or ETag"));
                };
                let modified_ms = milliseconds(object.last_modified());
                found.push(Listed { key: key.to_owned(), bytes, etag: etag.to_owned(), modified_ms });
                if found.len() > MAX_FILES {
                    let problem = format!("more than {MAX_FILES} objects; pass a longer prefix");
                    return Err(self.unreadable(folder, &problem));
                }
            }
            if keys > MAX_KEYS {
                let problem = format!("there are more than {MAX_KEYS} keys below it; pass a longer prefix");
                return Err(self.unreadable(folder, &problem));
            }
            if page.is_truncated() != Some(true) {
                break;
            }
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() || page.contents().is_empty() {
                return Err(self.unreadable(
                    folder,
                    "the server does not list all keys; use the server itself and no proxy",
                ));
            }
        }
        tables.refuse(&self.url(folder))?;
        // As paths are ordered: name by name.
        found.sort_by(|a, b| a.key.split('/').cmp(b.key.split('/')));
        Ok(found)
    }

    /// Refuses a prefix within a table, if the listing of the prefixes above it is allowed.
    async fn refuse_part_of_table(&self, folder: &str) -> Result<(), Error> {
        for (at, _) in folder.trim_end_matches('/').match_indices('/').chain([(usize::MAX, "")]) {
            let above = if at == usize::MAX { "" } else { &folder[..=at] };
            if above.len() >= folder.len() {
                continue;
            }
            let delta = self.page(&format!("{above}_delta_log/"), None, Some(1)).await;
            let iceberg = self.page(&format!("{above}metadata/"), None, None).await;
            let any = |page: &ListObjectsV2Output| !page.contents().is_empty();
            let mut metadata =
                iceberg.iter().flat_map(ListObjectsV2Output::contents).filter_map(|object| object.key());
            let kind = match delta.is_ok_and(|page| any(&page)) {
                true => TableKind::Delta,
                false if metadata.any(|key| key.ends_with(".metadata.json")) => TableKind::Iceberg,
                false => continue,
            };
            Tables::of(Path::new(above.trim_end_matches('/')), kind).refuse(&self.url(folder))?;
        }
        Ok(())
    }

    async fn head(&self, key: &str) -> Result<Option<Listed>, Error> {
        let head = match self.client.head_object().bucket(&*self.name).key(key).send().await {
            Ok(head) => head,
            Err(error) if error.as_service_error().is_some_and(|error| error.is_not_found()) => {
                return Ok(None);
            }
            Err(error) => return Err(self.failed(s3::unreachable(error))),
        };
        let bytes = head.content_length().and_then(|length| u64::try_from(length).ok());
        let (Some(bytes), Some(etag)) = (bytes, head.e_tag()) else {
            return Err(self.unreadable(key, "the server gives it no size or ETag"));
        };
        let modified_ms = milliseconds(head.last_modified());
        Ok(Some(Listed { key: key.to_owned(), bytes, etag: etag.to_owned(), modified_ms }))
    }

    async fn page(
        &self,
        prefix: &str,
        token: Option<String>,
        most: Option<i32>,
    ) -> Result<ListObjectsV2Output, Error> {
        let list = self.client.list_objects_v2().bucket(&*self.name).prefix(prefix);
        let list = list.set_continuation_token(token).set_max_keys(most);
        list.send().await.map_err(|error| self.failed(s3::reason(error)))
    }

    fn url(&self, key: &str) -> Arc<str> {
        format!("s3://{}/{key}", self.name).into()
    }

    fn failed(&self, (_, source): (FailureKind, BoxError)) -> Error {
        Error::Io { name: self.place.as_str().into(), action: "read", source: io::Error::other(source) }
    }

    fn missing(&self, key: &str, problem: &str) -> Error {
        let source = io::Error::new(io::ErrorKind::NotFound, problem);
        Error::Io { name: self.url(key), action: "open", source }
    }

    fn unreadable(&self, key: &str, problem: &str) -> Error {
        Error::Unreadable { name: self.url(key), problem: problem.to_owned() }
    }
}

/// Looks at each name of a key.
fn see(tables: &mut Tables, folder: &str, name: &str) {
    let mut start = 0;
    while let Some(rest) = name.get(start..) {
        let end = rest.find('/').map(|length| start + length);
        let part = &name[start..end.unwrap_or(name.len())];
        let above = format!("{folder}{}", &name[..start]);
        tables.see(Path::new(above.trim_end_matches('/')), OsStr::new(part), end.is_some());
        let Some(end) = end else { return };
        start = end + 1;
    }
}
