//! The conformance suite of payload stores.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::Hash;
use edgesentry_rs::ingest::verify::{Admitted, DeviceKeys, RegisteredKey, Registry, Submission, admit};
use edgesentry_rs::ledger::Sqlite;
use edgesentry_rs::payload::{Folder, Memory, PayloadStore, Put};
use tempfile::TempDir;

use crate::common::{bucket, device, s3_client, s3_settings, server};

macro_rules! on_every_store {
    ($($test:ident),* $(,)?) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() { super::$test(Arc::new(Memory::default())).await; })*
            use std::sync::Arc; use super::Memory;
        }
        mod folder {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let folder = TempDir::new().unwrap();
                super::$test(Arc::new(Folder::open(&folder.path().join("payloads")).unwrap())).await;
            })*
            use std::sync::Arc; use super::{Folder, TempDir};
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let folder = TempDir::new().unwrap();
                let ledger = Sqlite::open(&folder.path().join("ledger.db")).await.unwrap();
                super::$test(Arc::new(ledger.payloads())).await;
            })*
            use std::sync::Arc; use super::{Sqlite, TempDir};
        }
        mod s3 {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let (store, _) = bucket(&server("EDGESENTRY_TEST_S3")).await;
                super::$test(Arc::new(store)).await;
            })*
            use std::sync::Arc; use super::{bucket, server};
        }
    };
}

on_every_store!(
    a_payload_comes_back,
    what_is_there_stays,
    of_two_writers_one_wins,
    many_at_once,
    what_is_not_there_is_not_there,
    odd_names,
);

fn admitted(object_ref: &str, payload: &[u8]) -> Admitted {
    let mut device = device(1);
    let record = Arc::new(device.sign(0, payload, object_ref).unwrap());
    let key = edgesentry_chain::RingKey {
        key: device.public_key().unwrap(),
        scheme: device.scheme(),
        valid_from: 1,
    };
    let keys: Arc<[RegisteredKey]> = Arc::new([RegisteredKey { key, revoked_from: None }]);
    let registry = Registry::from([(Arc::from("lift-01"), DeviceKeys { version: 1, keys })]);
    admit(vec![Submission { record, payload: Bytes::copy_from_slice(payload) }], &registry).remove(0).unwrap()
}

async fn a_payload_comes_back(store: Arc<dyn PayloadStore>) {
    store.check().await.unwrap();
    for (object_ref, size) in [("lift-01/empty", 0), ("lift-01/1.bin", 1), ("big", 5 << 20)] {
        let payload: Vec<u8> = (0..size).map(|at: usize| (at * 31 % 251) as u8).collect();
        assert_eq!(store.put(&admitted(object_ref, &payload)).await.unwrap(), Put::Stored);
        assert_eq!(store.get(object_ref).await.unwrap().unwrap(), payload, "{object_ref}");
        assert!(store.exists(object_ref).await.unwrap());
        let versions = store.versions(object_ref).await.unwrap();
        assert_eq!(versions.len(), 1, "{object_ref}");
        assert_eq!((versions[0].size_bytes, versions[0].current), (size as u64, true));
    }
}

async fn what_is_there_stays(store: Arc<dyn PayloadStore>) {
    assert_eq!(store.put(&admitted("a/b", b"first")).await.unwrap(), Put::Stored);
    assert_eq!(store.put(&admitted("a/b", b"first")).await.unwrap(), Put::AlreadyThere);
    let other = store.put(&admitted("a/b", b"other")).await.unwrap();
    assert_eq!(other, Put::Conflict(Hash::of(b"first")));
    assert_eq!(store.get("a/b").await.unwrap().unwrap(), "first");
}

async fn of_two_writers_one_wins(store: Arc<dyn PayloadStore>) {
    for round in 0..10 {
        let object_ref = format!("race/{round}");
        let put = |payload: &'static str| {
            let (store, admitted) = (Arc::clone(&store), admitted(&object_ref, payload.as_bytes()));
            tokio::spawn(async move { (payload, store.put(&admitted).await.unwrap()) })
        };
        let tasks: Vec<_> = ["one", "two", "three", "four"].into_iter().map(put).collect();
        let mut stored = Vec::new();
        for task in tasks {
            match task.await.unwrap() {
                (payload, Put::Stored) => stored.push(payload),
                (_, put) => assert!(matches!(put, Put::Conflict(_)), "{put:?}"),
            }
        }
        assert_eq!(stored.len(), 1, "{round}");
        assert_eq!(store.get(&object_ref).await.unwrap().unwrap(), stored[0]);
    }
}

async fn many_at_once(store: Arc<dyn PayloadStore>) {
    let payloads: Vec<Admitted> = (0..100)
        .map(|at| admitted(&format!("many/{}", at % 90), format!("{}", at % 95).as_bytes()))
        .collect();
    let puts: Vec<Put> = store.put_many(&payloads, 1).await.into_iter().map(Result::unwrap).collect();
    assert!(puts[..90].iter().all(|put| *put == Put::Stored), "{puts:?}");
    assert!(puts[90..95].iter().all(|put| matches!(put, Put::Conflict(_))), "{puts:?}");
    assert!(puts[95..].iter().all(|put| matches!(put, Put::Conflict(_))), "{puts:?}");
    let again = store.put_many(&payloads[..90], 16).await;
    assert!(again.into_iter().all(|put| put.unwrap() == Put::AlreadyThere));
}

async fn what_is_not_there_is_not_there(store: Arc<dyn PayloadStore>) {
    store.put(&admitted("there/1", b"x")).await.unwrap();
    for object_ref in ["nowhere", "there", "there/1/2", "there/2"] {
        assert_eq!(store.get(object_ref).await.unwrap(), None, "{object_ref}");
        assert!(!store.exists(object_ref).await.unwrap(), "{object_ref}");
        assert!(store.versions(object_ref).await.unwrap().is_empty(), "{object_ref}");
    }
}

async fn odd_names(store: Arc<dyn PayloadStore>) {
    for object_ref in ["a b+c%20/ü/海", "semi;colon?query#hash", "'quote\"", "-dash", "tail.", "UPPER/lower"]
    {
        assert_eq!(store.refuses(object_ref), None, "{object_ref}");
        assert_eq!(store.put(&admitted(object_ref, object_ref.as_bytes())).await.unwrap(), Put::Stored);
        assert_eq!(store.get(object_ref).await.unwrap().unwrap(), object_ref);
        assert_eq!(store.versions(object_ref).await.unwrap().len(), 1, "{object_ref}");
    }
}

#[tokio::test]
async fn references_that_lead_astray_are_refused() {
    let folder = TempDir::new().unwrap();
    let inside = Folder::open(&folder.path().join("payloads")).unwrap();
    let bucket =
        edgesentry_rs::payload::S3::connect("audit", &s3_settings("http://127.0.0.1:9")).await.unwrap();
    for object_ref in ["", "/", "../x", "a/../../x", "a//b", "a/", "./a", "s3://audit/../x", "s3://audit/"] {
        assert!(bucket.refuses(object_ref).is_some(), "{object_ref}");
        if object_ref != "s3://audit/" && !object_ref.is_empty() && object_ref != "/" {
            assert!(inside.refuses(object_ref).is_some(), "{object_ref}");
        }
    }
    for object_ref in ["s3://other/x", "file:///x", "http://audit/x", "a\nb"] {
        assert!(bucket.refuses(object_ref).is_some(), "{object_ref}");
    }
    assert!(inside.refuses(".partial/x").is_some());
    assert_eq!(bucket.refuses("s3://audit/lift-01/1.bin"), None);
    assert!(inside.get("../secret").await.is_err());
}

#[tokio::test]
async fn a_bucket_keeps_versions_and_a_wrong_secret_is_refused() {
    let endpoint = server("EDGESENTRY_TEST_S3");
    let (store, name) = bucket(&endpoint).await;
    let client = s3_client(&endpoint);
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
    let versioning = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    let put = client.put_bucket_versioning().bucket(&name).versioning_configuration(versioning);
    put.send().await.unwrap();
    store.put(&admitted("v/1", b"first")).await.unwrap();
    // Somebody with the credentials overwrites, then deletes.
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"forged");
    client.put_object().bucket(&name).key("v/1").body(body).send().await.unwrap();
    client.delete_object().bucket(&name).key("v/1").send().await.unwrap();
    let versions = store.versions("v/1").await.unwrap();
    assert_eq!(versions.len(), 3, "{versions:?}");
    assert!(versions[0].current && versions[0].deleted, "{versions:?}");
    assert_eq!(store.get("v/1").await.unwrap(), None);

    let wrong = edgesentry_rs::payload::S3Settings {
        secret_access_key: Some("wrong".to_owned().into()),
        ..s3_settings(&endpoint)
    };
    let wrong = edgesentry_rs::payload::S3::connect(&name, &wrong).await.unwrap();
    let error = wrong.check().await.unwrap_err();
    assert!(!error.retryable, "{}", error.describe());
    assert!(wrong.put(&admitted("v/2", b"x")).await.is_err());
    assert!(!error.describe().contains("wrong"), "{}", error.describe());
    let nowhere =
        edgesentry_rs::payload::S3::connect("no-such-bucket", &s3_settings(&endpoint)).await.unwrap();
    assert!(nowhere.check().await.is_err());
    assert!(nowhere.get("x").await.is_err() && nowhere.exists("x").await.is_err());
}
