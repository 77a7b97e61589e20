//! Objects in a bucket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use super::action::{DELETE, LIST, READ, WRITE};
use super::{Object, Objects, Write, Written, too_large};
use crate::error::{BoxError, Component, Error, FailureKind, StoreError};
use crate::files::refuse_key;
use crate::s3::{self, BodyError, milliseconds};
use crate::s3_settings::S3Settings;

/// The size of a part of a large object, and the size from which objects are sent in parts.
const PART_BYTES: u64 = 8 << 20;
/// S3 allows 10,000 parts.
const MAX_PARTS: u64 = 9_000;
/// Parts that are sent concurrently.
const CONCURRENT_PARTS: usize = 4;
/// The minimum timeout of a part: on a line of 1 Mbit/s it takes a minute.
const PART_TIMEOUT: Duration = Duration::from_secs(120);
/// How often a broken read is resumed.
const RESUMES: u32 = 5;

/// A bucket and a prefix of keys in it. Writes carry a SHA-256 that the server checks; objects larger than 8 MiB are
/// sent in parts.
#[derive(Debug, Clone)]
pub struct S3Objects {
    client: Client,
    bucket: Arc<str>,
    /// Empty, or ends with a slash.
    prefix: Arc<str>,
    place: Arc<str>,
    component: Component,
}

impl S3Objects {
    /// Creates a client for `BUCKET/PREFIX`; [`Objects::check`] checks that the bucket can be reached. Errors name the
    /// component that keeps its objects there.
    ///
    /// # Errors
    /// The URL names no bucket, or the credentials of the settings are incomplete.
    pub async fn connect(url: &str, settings: &S3Settings, component: Component) -> Result<S3Objects, Error> {
        let (bucket, prefix) = url.split_once('/').unwrap_or((url, ""));
        let prefix = prefix.trim_end_matches('/');
        if bucket.is_empty() {
            return Err(Error::Config("expected s3://BUCKET/PREFIX; the bucket is missing".to_owned()));
        }
        if !prefix.is_empty() {
            let wrong = |problem| Error::Config(format!("s3://{url}: expected as the prefix {problem}"));
            refuse_key(prefix).map_err(wrong)?;
        }
        let client = s3::client(settings, settings.timeout().max(PART_TIMEOUT)).await?;
        let place = settings.place(&format!("s3://{url}"));
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(S3Objects { client, bucket: bucket.into(), prefix: prefix.into(), place: place.into(), component })
    }

    fn key(&self, key: &str, action: &'static str) -> Result<String, StoreError> {
        refuse_key(key).map_err(|problem| self.error(action, FailureKind::Setup, problem.into()))?;
        Ok(format!("{}{key}", self.prefix))
    }

    fn error(&self, action: &'static str, kind: FailureKind, source: BoxError) -> StoreError {
        let place = Arc::clone(&self.place);
        StoreError { component: self.component, action, place, kind, source: Arc::from(source) }
    }

    fn failed<E>(&self, action: &'static str, error: SdkError<E>) -> StoreError
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let (kind, source) = s3::reason(error);
        self.error(action, kind, source)
    }

    /// Converts the response to a write.
    fn written<T, E>(&self, answer: Result<T, SdkError<E>>) -> Result<Written, StoreError>
    where
        E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    {
        match answer {
            Ok(_) => Ok(Written::Stored),
            Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 412) => {
                Ok(Written::Taken)
            }
            Err(error) => Err(self.failed(WRITE, error)),
        }
    }

    /// Sends one part of a file.
    async fn part(
        &self,
        (key, upload): (&str, &str),
        file: &Path,
        number: i32,
        (from, length): (u64, u64),
    ) -> Result<CompletedPart, StoreError> {
        let read = async {
            let mut file = File::open(file).await?;
            file.seek(std::io::SeekFrom::Start(from)).await?;
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
            file.take(length).read_to_end(&mut bytes).await?;
            std::io::Result::Ok(bytes)
        };
        let bytes =
            read.await.map_err(|error| self.error("read the file", FailureKind::Setup, error.into()))?;
        let sent = self
            .client
            .upload_part()
            .bucket(&*self.bucket)
            .key(key)
            .upload_id(upload)
            .part_number(number)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .body(ByteStream::from(bytes))
            .send()
            .await
            .map_err(|error| self.failed(WRITE, error))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(sent.e_tag)
            .set_checksum_sha256(sent.checksum_sha256)
            .build())
    }

    /// Sends a large file in parts.
    async fn put_parts(
        &self,
        key: &str,
        file: &Path,
        size: u64,
        write: Write,
    ) -> Result<Written, StoreError> {
        let create = self.client.create_multipart_upload().bucket(&*self.bucket).key(key);
        let created = create
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .content_type(CONTENT)
            .send()
            .await
            .map_err(|error| self.failed(WRITE, error))?;
        let upload = created.upload_id().unwrap_or_default();
        let length = PART_BYTES.max(size.div_ceil(MAX_PARTS));
        let parts: Vec<_> = (0..size.div_ceil(length))
            .zip(1..)
            .map(|(part, number)| self.part((key, upload), file, number, (part * length, length)))
            .collect();
        let sent: Result<Vec<_>, _> =
            futures::stream::iter(parts).buffered(CONCURRENT_PARTS).try_collect().await;
        let written = match sent {
            Ok(parts) => {
                let complete =
                    self.client.complete_multipart_upload().bucket(&*self.bucket).key(key).upload_id(upload);
                let complete = complete
                    .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(parts)).build())
                    .set_if_none_match((write == Write::IfAbsent).then(|| "*".to_owned()));
                self.written(complete.send().await)
            }
            Err(error) => Err(error),
        };
        if !matches!(written, Ok(Written::Stored)) {
            // Leftover parts only cost money; the first error counts.
            let abort = self.client.abort_multipart_upload().bucket(&*self.bucket).key(key).upload_id(upload);
            let _ = abort.send().await;
        }
        written
    }

    /// Opens an object from a byte on; `None` if there is provably none.
    async fn open(&self, key: &str, from: u64) -> Result<Option<GetObjectOutput>, StoreError> {
        let range = (from > 0).then(|| format!("bytes={from}-"));
        let get = self.client.get_object().bucket(&*self.bucket).key(key).set_range(range);
        match get.send().await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => {
                // Some servers respond like this if the bucket is missing.
                self.check().await.map(|()| None)
            }
            Err(error) => Err(self.failed(READ, error)),
        }
    }

    /// Reads an object into a file, and resumes broken reads.
    async fn read_into(
        &self,
        key: &str,
        mut object: GetObjectOutput,
        path: &Path,
        most: u64,
    ) -> Result<u64, StoreError> {
        let local = |error: std::io::Error| self.error("write the file", FailureKind::Setup, error.into());
        let size = object.content_length().and_then(|length| u64::try_from(length).ok());
        let refuse = |size: u64| self.error(READ, FailureKind::Item, too_large(key, size).into());
        if let Some(size) = size.filter(|size| *size > most) {
            return Err(refuse(size));
        }
        let mut file = File::create_new(path).await.map_err(local)?;
        let (mut done, mut resumes) = (0, 0);
        loop {
            let broken = match object.body.try_next().await {
                Ok(Some(bytes)) => {
                    done += bytes.len() as u64;
                    if done > most {
                        return Err(refuse(done));
                    }
                    file.write_all(&bytes).await.map_err(local)?;
                    continue;
                }
                Ok(None) if size.is_none_or(|size| size == done) => {
                    file.flush().await.map_err(local)?;
                    return Ok(done);
                }
                Ok(None) => BoxError::from("the object ends too early"),
                Err(error) => error.into(),
            };
            resumes += 1;
            if resumes > RESUMES {
                return Err(self.error(READ, FailureKind::Passing, broken));
            }
            let again = self.open(key, done).await?;
            object = again.ok_or_else(|| {
                self.error(READ, FailureKind::Passing, "the object is no longer there".into())
            })?;
        }
    }
}

const CONTENT: &str = "application/octet-stream";

#[async_trait]
impl Objects for S3Objects {
    fn place(&self) -> &str {
        &self.place
    }

    async fn check(&self) -> Result<(), StoreError> {
        let answer = self.client.head_bucket().bucket(&*self.bucket).send().await;
        let Err(error) = answer else { return Ok(()) };
        let (kind, source) = s3::unreachable(error);
        Err(self.error("reach the bucket", kind, source))
    }

    async fn put(&self, key: &str, bytes: Bytes, write: Write) -> Result<Written, StoreError> {
        let put = self
            .client
            .put_object()
            .bucket(&*self.bucket)
            .key(self.key(key, WRITE)?)
            .body(ByteStream::from(bytes))
            .set_if_none_match((write == Write::IfAbsent).then(|| "*".to_owned()))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .content_type(CONTENT);
        self.written(put.send().await)
    }

    async fn put_file(&self, key: &str, file: &Path, write: Write) -> Result<Written, StoreError> {
        let local = |error: std::io::Error| self.error("read the file", FailureKind::Setup, error.into());
        let size = fs::metadata(file).await.map_err(local)?.len();
        if size > PART_BYTES {
            return self.put_parts(&self.key(key, WRITE)?, file, size, write).await;
        }
        self.put(key, fs::read(file).await.map_err(local)?.into(), write).await
    }

    async fn get_at_most(&self, key: &str, most: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(object) = self.open(&self.key(key, READ)?, 0).await? else { return Ok(None) };
        let bytes = s3::body(object, most).await.map_err(|error| match error {
            BodyError::TooLarge(size) => self.error(READ, FailureKind::Item, too_large(key, size).into()),
            BodyError::Broken(error) => self.error(READ, FailureKind::Passing, error),
        });
        bytes.map(Some)
    }

    async fn get_file(&self, key: &str, file: &Path, most: u64) -> Result<Option<u64>, StoreError> {
        let key = self.key(key, READ)?;
        let Some(object) = self.open(&key, 0).await? else { return Ok(None) };
        let read = self.read_into(&key, object, file, most).await;
        if read.is_err() {
            let _ = fs::remove_file(file).await;
        }
        read.map(Some)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Object>, StoreError> {
        let list =
            self.client.list_objects_v2().bucket(&*self.bucket).prefix(format!("{}{prefix}", self.prefix));
        let mut pages = list.into_paginator().send();
        let mut objects = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed(LIST, error))?;
            for object in page.contents() {
                let Some(key) = object.key().and_then(|key| key.strip_prefix(&*self.prefix)) else {
                    continue;
                };
                objects.push(Object {
                    key: key.to_owned(),
                    size_bytes: object.size().unwrap_or(0).cast_unsigned(),
                    modified_ms: milliseconds(object.last_modified()),
                });
            }
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let delete = self.client.delete_object().bucket(&*self.bucket).key(self.key(key, DELETE)?);
        delete.send().await.map(|_| ()).map_err(|error| self.failed(DELETE, error))
    }
}
