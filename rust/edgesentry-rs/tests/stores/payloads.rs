//! The conformance suite of payload stores.

use std::sync::Arc;

use bytes::Bytes;
use edgesentry_chain::{AuditRecord, Device, Hash, Head, Scheme};
use edgesentry_formats::{content_path, describe};
use edgesentry_rs::FailureKind;
use edgesentry_rs::ingest::storage::{IngestService, Limits};
use edgesentry_rs::ingest::verify::{Admitted, DeviceKeys, RegisteredKey, Registry, Submission, admit};
use edgesentry_rs::ledger::{Ledger, Sqlite};
use edgesentry_rs::payload::{Folder, Layout, Memory, PayloadStore, Put};
use sqlx::Connection;
use tempfile::TempDir;

use crate::common::{all, bucket, chain, devices, names, next, s3_client, s3_settings, server};

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
        mod packs {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let folder = TempDir::new().unwrap();
                let store = Folder::open_as(&folder.path().join("payloads"), Layout::Packs).unwrap();
                super::$test(Arc::new(store)).await;
            })*
            use std::sync::Arc; use super::{Folder, Layout, TempDir};
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
    of_several_writers_all_succeed,
    many_at_once,
    what_is_not_there_is_not_there,
    references_are_only_names,
    devices_have_places_of_their_own,
);

/// Returns an admitted record of a device over a payload.
pub fn admitted_of(device_id: &str, object_ref: &str, payload: &[u8]) -> Admitted {
    let mut device = Device::from_seed(device_id, [1; 32], Scheme::Record);
    let record = Arc::new(device.sign(0, payload, object_ref).unwrap());
    let key = edgesentry_chain::RingKey {
        key: device.public_key().unwrap(),
        scheme: device.scheme(),
        valid_from: 1,
    };
    let keys: Arc<[RegisteredKey]> = Arc::new([RegisteredKey { key, revoked_from: None }]);
    let head = Head { sequence: 0, hash: Hash::ZERO };
    let registry = Registry::from([(Arc::from(device_id), DeviceKeys { version: 1, keys, head })]);
    admit(vec![Submission { record, payload: Bytes::copy_from_slice(payload) }], &registry).remove(0).unwrap()
}

pub fn admitted(object_ref: &str, payload: &[u8]) -> Admitted {
    admitted_of("lift-01", object_ref, payload)
}

async fn a_payload_comes_back(store: Arc<dyn PayloadStore>) {
    store.check().await.unwrap();
    for (object_ref, size) in [("lift-01/empty", 0), ("lift-01/1.bin", 1), ("big", 5 << 20)] {
        let payload: Vec<u8> = (0..size).map(|at: usize| (at * 31 % 251) as u8).collect();
        let admitted = admitted(object_ref, &payload);
        assert_eq!(store.put(&admitted).await.unwrap(), Put::Stored);
        assert_eq!(store.get(admitted.record()).await.unwrap().unwrap(), payload, "{object_ref}");
        let versions = store.versions(admitted.record()).await.unwrap();
        assert_eq!(versions.len(), 1, "{object_ref}");
        assert_eq!((versions[0].size_bytes, versions[0].current), (size as u64, true));
        assert_eq!(versions[0].key, content_path(admitted.record()));
    }
}

async fn what_is_there_stays(store: Arc<dyn PayloadStore>) {
    let (first, other) = (admitted("a/b", b"first"), admitted("a/b", b"other"));
    assert_eq!(store.put(&first).await.unwrap(), Put::Stored);
    assert_eq!(store.put(&first).await.unwrap(), Put::AlreadyThere);
    assert_eq!(store.put(&other).await.unwrap(), Put::Stored);
    assert_eq!(store.get(first.record()).await.unwrap().unwrap(), "first");
    assert_eq!(store.get(other.record()).await.unwrap().unwrap(), "other");
}

async fn of_several_writers_all_succeed(store: Arc<dyn PayloadStore>) {
    for round in 0..10 {
        let admitted = admitted("race", format!("round {round}").as_bytes());
        let tasks: Vec<_> = (0..4)
            .map(|_| {
                let (store, admitted) = (Arc::clone(&store), admitted.clone());
                tokio::spawn(async move { store.put(&admitted).await.unwrap() })
            })
            .collect();
        let mut stored = 0;
        for task in tasks {
            stored += usize::from(task.await.unwrap() == Put::Stored);
        }
        assert_eq!(stored, 1, "{round}");
        assert_eq!(store.get(admitted.record()).await.unwrap().unwrap(), format!("round {round}"));
    }
}

async fn many_at_once(store: Arc<dyn PayloadStore>) {
    let payloads: Vec<Admitted> =
        (0..100).map(|at| admitted(&format!("many/{at}"), format!("{}", at % 90).as_bytes())).collect();
    let puts: Vec<Put> = store.put_many(&payloads, 1).await.into_iter().map(Result::unwrap).collect();
    assert!(puts[..90].iter().all(|put| *put == Put::Stored), "{puts:?}");
    assert!(puts[90..].iter().all(|put| *put == Put::AlreadyThere), "{puts:?}");
    let again = store.put_many(&payloads[..90], 16).await;
    assert!(again.into_iter().all(|put| put.unwrap() == Put::AlreadyThere));
}

async fn what_is_not_there_is_not_there(store: Arc<dyn PayloadStore>) {
    store.put(&admitted("there/1", b"x")).await.unwrap();
    let record = admitted("nowhere", b"y");
    for object_ref in ["nowhere", "there", "there/1/2", "there/1", "../there/1", "", "a\0b", "s3://other/1"] {
        let record = AuditRecord { object_ref: object_ref.to_owned(), ..(**record.record()).clone() };
        assert_eq!(store.get(&record).await.unwrap(), None, "{object_ref:?}");
        assert_eq!(store.versions(&record).await.unwrap(), [], "{object_ref:?}");
    }
}

/// An object reference never prevents the storage of a payload, wherever it points.
async fn references_are_only_names(store: Arc<dyn PayloadStore>) {
    let (long, deep) = ("x".repeat(1024), "d/".repeat(512));
    for object_ref in [
        "x",
        "x/y",
        "x/y/z",
        "devices",
        "devices/lift-01",
        ".partial/x",
        "/",
        "..",
        "../../x",
        "a//b",
        "a/",
        "a\nb",
        "s3://other/x",
        "s3://",
        "file:///etc/passwd",
        "a b+c%20/ü/海",
        "'quote\"",
        "tail.",
        &long,
        &deep,
    ] {
        let admitted = admitted(object_ref, object_ref.as_bytes());
        assert_eq!(store.put(&admitted).await.unwrap(), Put::Stored, "{object_ref:?}");
        assert_eq!(store.get(admitted.record()).await.unwrap().unwrap(), object_ref);
        assert_eq!(store.versions(admitted.record()).await.unwrap().len(), 1, "{object_ref:?}");
    }
}

async fn devices_have_places_of_their_own(store: Arc<dyn PayloadStore>) {
    let (long, longer) = ("l".repeat(1023), "l".repeat(1024));
    let ids = ["a", "A", "a/b", "a!2fb", "..", ".", "!", "a/../b", "海", "a b", "devices", &long, &longer];
    for id in ids {
        let admitted = admitted_of(id, "x", b"the same");
        // A file system may not tell "a" from "A"; then they share the same bytes.
        if id != "A" {
            assert_eq!(store.put(&admitted).await.unwrap(), Put::Stored, "{id}");
        }
        store.put(&admitted).await.unwrap();
        assert_eq!(store.get(admitted.record()).await.unwrap().unwrap(), "the same");
    }
}

/// Payloads of earlier releases are under their object references.
#[tokio::test]
async fn payloads_of_earlier_releases_are_found() {
    let place = TempDir::new().unwrap();
    let endpoint = server("EDGESENTRY_TEST_S3");
    let root = place.path().join("payloads");
    let folder: Arc<dyn PayloadStore> = Arc::new(Folder::open(&root).unwrap());
    let (s3, bucket_name) = bucket(&endpoint).await;
    let s3: Arc<dyn PayloadStore> = Arc::new(s3);
    let file = place.path().join("ledger.db");
    let sqlite: Arc<dyn PayloadStore> = Arc::new(Sqlite::open(&file).await.unwrap().payloads());
    let client = s3_client(&endpoint);
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let with_bucket = format!("s3://{bucket_name}/lift-01/2.bin");
    for (object_ref, old_file, old_key) in [
        ("lift-01/1.bin", "lift-01/1.bin", "lift-01/1.bin"),
        (&with_bucket, &format!("{bucket_name}/lift-01/2.bin"), "lift-01/2.bin"),
    ] {
        let (right, wrong) = (admitted(object_ref, b"right"), admitted(object_ref, object_ref.as_bytes()));
        std::fs::create_dir_all(root.join(old_file).parent().unwrap()).unwrap();
        std::fs::write(root.join(old_file), "right").unwrap();
        let body = aws_sdk_s3::primitives::ByteStream::from_static(b"right");
        client.put_object().bucket(&bucket_name).key(old_key).body(body).send().await.unwrap();
        sqlx::query("INSERT INTO payloads VALUES (?, 'right', 0)")
            .bind(object_ref)
            .execute(&mut connection)
            .await
            .unwrap();
        for (store, old_name) in [(&folder, old_file), (&s3, old_key), (&sqlite, object_ref)] {
            assert_eq!(store.get(right.record()).await.unwrap().unwrap(), "right", "{}", store.place());
            let versions = store.versions(right.record()).await.unwrap();
            assert_eq!(versions.iter().map(|version| version.key.as_str()).collect::<Vec<_>>(), [old_name]);
            // As before, other bytes are returned: verification reports them.
            assert_eq!(store.get(wrong.record()).await.unwrap().unwrap(), "right");
            // A record that is sent now has its own place, and the old bytes stay unchanged.
            assert_eq!(store.put(&wrong).await.unwrap(), Put::Stored);
            assert_eq!(store.get(wrong.record()).await.unwrap().unwrap(), object_ref);
            assert_eq!(store.get(right.record()).await.unwrap().unwrap(), "right");
            assert_eq!(store.versions(wrong.record()).await.unwrap().len(), 2);
        }
    }
}

/// Other bytes under the name of a record are an error that names the place; they stay, and other records are stored.
#[tokio::test]
async fn other_bytes_at_a_place_are_a_damaged_store() {
    let place = TempDir::new().unwrap();
    let endpoint = server("EDGESENTRY_TEST_S3");
    let root = place.path().join("payloads");
    let folder: Arc<dyn PayloadStore> = Arc::new(Folder::open(&root).unwrap());
    let (s3, bucket_name) = bucket(&endpoint).await;
    let s3: Arc<dyn PayloadStore> = Arc::new(s3);
    let file = place.path().join("ledger.db");
    let sqlite: Arc<dyn PayloadStore> = Arc::new(Sqlite::open(&file).await.unwrap().payloads());
    let (one, other) = (admitted("one", b"one"), admitted("other", b"other"));
    let key = content_path(one.record());
    for store in [&folder, &s3, &sqlite] {
        store.put(&one).await.unwrap();
    }
    std::fs::write(root.join(&key), "forged").unwrap();
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"forged");
    s3_client(&endpoint).put_object().bucket(&bucket_name).key(&key).body(body).send().await.unwrap();
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    sqlx::query("UPDATE record_payloads SET payload = 'forged'").execute(&mut connection).await.unwrap();
    for store in [folder, s3, sqlite] {
        let puts = store.put_many(&[one.clone(), other.clone()], 2).await;
        let error = puts[0].as_ref().unwrap_err();
        assert_eq!(error.kind, FailureKind::Setup, "{}", error.describe());
        assert!(error.describe().contains(&key), "{}", error.describe());
        assert_eq!(*puts[1].as_ref().unwrap(), Put::Stored, "{}", store.place());
        assert_eq!(store.get(one.record()).await.unwrap().unwrap(), "forged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_stores_a_payload_with_its_record() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("ledger.db");
    let ledger = Arc::new(Sqlite::open(&file).await.unwrap());
    let store: Arc<dyn PayloadStore> = Arc::new(ledger.payloads());
    assert!(ledger.stores_payloads(&*store));
    // Another file, and the same file opened again: their payloads are written before the records.
    let again = Sqlite::open(&file).await.unwrap();
    let other = Sqlite::open(&place.path().join("other.db")).await.unwrap();
    for store in [again.payloads(), other.payloads()] {
        assert!(!ledger.stores_payloads(&store));
    }
    assert!(!ledger.stores_payloads(&Memory::default()));

    let service = IngestService::start(Arc::clone(&ledger) as _, Arc::clone(&store), Limits::default());
    let mut devices = devices(&*ledger, 3).await;
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let mut stored: i64 = 0;
    for (at, device) in devices.iter_mut().enumerate() {
        let mut records = chain(device, 50);
        if at == 1 {
            // One payload is there: the primary key refuses it, and the group is appended by the other connection.
            let sql = "INSERT INTO record_payloads VALUES (?, ?, ?, ?, 0)";
            let Submission { record, payload } = &records[20];
            let query = sqlx::query(sql).bind(&record.device_id).bind(record.sequence.cast_signed());
            let query = query.bind(record.payload_hash.as_bytes().to_vec()).bind(payload.to_vec());
            query.execute(&mut connection).await.unwrap();
        }
        // A gap: it is rejected, and its payload is not stored.
        next(device);
        records.push(next(device));
        let mut expected = all("accepted", 50);
        expected.push("sequence_gap");
        assert_eq!(names(&service.ingest_many(records.clone()).await), expected);
        for Submission { record, payload } in &records[..50] {
            assert_eq!(store.get(record).await.unwrap().as_ref(), Some(payload));
        }
        stored += 50;
        let count = "SELECT count(*) FROM record_payloads";
        assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut connection).await.unwrap(), stored);
        let count = "SELECT count(*) FROM audit_records";
        assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut connection).await.unwrap(), stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_in_the_place_of_a_payload_concern_only_its_device() {
    let place = TempDir::new().unwrap();
    let file = place.path().join("ledger.db");
    let ledger = Arc::new(Sqlite::open(&file).await.unwrap());
    let payloads = Arc::new(ledger.payloads());
    let service = IngestService::start(Arc::clone(&ledger) as _, payloads, Limits::default());
    let mut devices = devices(&*ledger, 2).await;
    let records: Vec<Submission> = devices.iter_mut().flat_map(|device| chain(device, 3)).collect();
    let mut connection =
        sqlx::SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let record = &records[1].record;
    let query = sqlx::query("INSERT INTO record_payloads VALUES (?, ?, ?, 'forged', 0)");
    let query = query.bind(&record.device_id).bind(record.sequence.cast_signed());
    query.bind(record.payload_hash.as_bytes().to_vec()).execute(&mut connection).await.unwrap();

    let outcomes = service.ingest_many(records.clone()).await;
    assert_eq!(names(&outcomes[..1]), ["accepted"]);
    let error = describe(outcomes[1].as_ref().unwrap_err());
    assert!(error.contains(&content_path(record)), "{error}");
    assert!(outcomes[2].is_err());
    assert_eq!(names(&outcomes[3..]), all("accepted", 3));
    let count = "SELECT count(*) FROM record_payloads";
    assert_eq!(sqlx::query_scalar::<_, i64>(count).fetch_one(&mut connection).await.unwrap(), 5);
    // The same records, after the damaged payload is moved away.
    sqlx::query("DELETE FROM record_payloads WHERE payload = 'forged'")
        .execute(&mut connection)
        .await
        .unwrap();
    let mut expected = all("duplicate", 6);
    expected[1..3].fill("accepted");
    assert_eq!(names(&service.ingest_many(records).await), expected);
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
    let first = admitted("v/1", b"first");
    let key = content_path(first.record());
    store.put(&first).await.unwrap();
    // An attacker with the credentials overwrites, then deletes.
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"forged");
    client.put_object().bucket(&name).key(&key).body(body).send().await.unwrap();
    client.delete_object().bucket(&name).key(&key).send().await.unwrap();
    let versions = store.versions(first.record()).await.unwrap();
    assert_eq!(versions.len(), 3, "{versions:?}");
    assert!(versions[0].current && versions[0].deleted, "{versions:?}");
    assert_eq!(store.get(first.record()).await.unwrap(), None);

    let wrong = edgesentry_rs::payload::S3Settings {
        secret_access_key: Some("wrong".to_owned().into()),
        ..s3_settings(&endpoint)
    };
    let wrong = edgesentry_rs::payload::S3::connect(&name, &wrong).await.unwrap();
    let error = wrong.check().await.unwrap_err();
    assert!(!error.is_retryable(), "{}", error.describe());
    let second = admitted("v/2", b"x");
    assert_eq!(wrong.put(&second).await.unwrap_err().kind, FailureKind::Setup);
    assert!(!error.describe().contains("wrong"), "{}", error.describe());
    let nowhere =
        edgesentry_rs::payload::S3::connect("no-such-bucket", &s3_settings(&endpoint)).await.unwrap();
    assert!(nowhere.check().await.is_err());
    assert!(nowhere.get(second.record()).await.is_err());
}

/// Without the rest of the list, a version could stay that an erasure does not know.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_versions_that_is_cut_without_a_marker_is_refused() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let list = |rest: &str| {
        format!(
            "<?xml version=\"1.0\"?><ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <IsTruncated>true</IsTruncated>{rest}</ListVersionsResult>"
        )
    };
    let record = AuditRecord::clone(admitted("1.bin", b"door").record());
    let key = content_path(&record);
    // None, and one that does not advance.
    for rest in
        ["", &format!("<NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>")]
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let body = list(rest);
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 65536];
                let _ = stream.read(&mut head).await;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/xml\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let store = edgesentry_rs::payload::S3::connect("bucket", &s3_settings(&endpoint)).await.unwrap();
        for error in
            [store.versions(&record).await.unwrap_err(), store.erase(&record, &key).await.unwrap_err()]
        {
            assert!(
                error.describe().contains("is cut, and has no marker of its rest"),
                "{}",
                error.describe()
            );
            assert_eq!(error.kind, FailureKind::Setup);
        }
        server.abort();
    }
}
