//! Payload directories: the places of payloads, and attacks by untrusted references.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::some_records;
use edgesentry_chain::{Hash, PayloadError, Payloads};
use edgesentry_formats::{Error, PayloadFolder, content_path};

fn look_up(folder: &PayloadFolder, object_ref: &str) -> Result<Option<Hash>, PayloadError> {
    let mut record = some_records(1).remove(0);
    record.object_ref = object_ref.to_owned();
    folder.payload_hash(&record)
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn payloads_are_found_by_key_and_by_bucket() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("lift/1.bin"), b"by key");
    write(&dir.path().join("bucket/lift/1.bin"), b"by bucket, but the key comes first");
    write(&dir.path().join("bucket/lift/2.bin"), b"by bucket");
    write(&dir.path().join("lift/empty"), b"");
    let large = vec![7u8; 3_000_001];
    write(&dir.path().join("lift/large ?#%20é"), &large);
    let folder = PayloadFolder::open(dir.path()).unwrap();
    let found = |object_ref| look_up(&folder, object_ref).unwrap();
    assert_eq!(found("s3://bucket/lift/1.bin"), Some(Hash::of(b"by key")));
    assert_eq!(found("s3://bucket/lift/2.bin"), Some(Hash::of(b"by bucket")));
    assert_eq!(found("gs://bucket/lift/2.bin"), Some(Hash::of(b"by bucket")));
    assert_eq!(found("file:///lift/1.bin"), Some(Hash::of(b"by key")));
    assert_eq!(found("lift/1.bin"), Some(Hash::of(b"by key")));
    assert_eq!(found("lift/empty"), Some(Hash::of(b"")));
    assert_eq!(found("s3://b/lift/large ?#%20é"), Some(Hash::of(&large)));
    assert_eq!(found("s3://bucket/lift/3.bin"), None);
    assert_eq!(found("s3://other/lift/2.bin"), None);
}

#[test]
fn references_out_of_the_folder_have_no_payload() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("payloads");
    write(&dir.join("a/1.bin"), b"inside");
    write(&outer.path().join("secret"), b"outside");
    write(&outer.path().join("payloads-2/secret"), b"a folder whose name begins the same way");
    let folder = PayloadFolder::open(&dir).unwrap();
    let absolute = outer.path().join("secret").display().to_string();
    let long = "x".repeat(300);
    let longer = "a/".repeat(4000) + "x";
    for trap in [
        "../secret",
        "a/../../secret",
        "s3://../secret",
        "s3://bucket/../secret",
        "s3://bucket/../../secret",
        "file:///../secret",
        "../payloads-2/secret",
        &absolute,
        &format!("file://{absolute}"),
        "a/1.bin\0",
        "\0",
        "",
        ".",
        "..",
        "/",
        "a",
        "a/",
        "a//1.bin",
        "a/1.bin/",
        "a/1.bin/more",
        "s3://",
        "s3://a",
        "s3:///",
        "://",
        &long,
        &longer,
    ] {
        assert_eq!(look_up(&folder, trap).unwrap(), None, "{trap:?}");
    }
}

#[cfg(unix)]
#[test]
fn links_lead_to_payloads_within_the_folder_only() {
    use std::os::unix::fs::symlink;
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("payloads");
    write(&dir.join("real/1.bin"), b"inside");
    write(&outer.path().join("secret/2.bin"), b"outside");
    symlink("real", dir.join("link")).unwrap();
    symlink(dir.canonicalize().unwrap().join("real"), dir.join("absolute")).unwrap();
    symlink(outer.path().join("secret"), dir.join("way-out")).unwrap();
    symlink("../secret/2.bin", dir.join("file-out")).unwrap();
    symlink("nowhere", dir.join("broken")).unwrap();
    // The directory itself may be a link.
    symlink(&dir, outer.path().join("entrance")).unwrap();
    let folder = PayloadFolder::open(&outer.path().join("entrance")).unwrap();
    for within in ["link/1.bin", "absolute/1.bin"] {
        assert_eq!(look_up(&folder, within).unwrap(), Some(Hash::of(b"inside")), "{within}");
    }
    for trap in ["way-out/2.bin", "file-out", "broken", "s3://way-out/2.bin", "s3://b/file-out"] {
        assert_eq!(look_up(&folder, trap).unwrap(), None, "{trap}");
    }
}

#[cfg(unix)]
#[test]
fn pipes_sockets_and_folders_are_not_payloads() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("mkfifo").arg(dir.path().join("pipe")).status().unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("zero")).unwrap();
    let folder = PayloadFolder::open(dir.path()).unwrap();
    for special in ["pipe", "socket", "folder", "zero", "s3://bucket/pipe"] {
        assert_eq!(look_up(&folder, special).unwrap(), None, "{special}");
    }
}

#[cfg(unix)]
#[test]
fn circles_of_links_are_not_payloads() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    symlink("circle-2", dir.path().join("circle-1")).unwrap();
    symlink("circle-1", dir.path().join("circle-2")).unwrap();
    symlink("itself", dir.path().join("itself")).unwrap();
    write(&dir.path().join("b/circle-1"), b"behind a circle");
    let folder = PayloadFolder::open(dir.path()).unwrap();
    for circle in ["circle-1", "itself", "itself/1.bin", "s3://a/circle-2"] {
        assert_eq!(look_up(&folder, circle).unwrap(), None, "{circle}");
    }
    assert_eq!(look_up(&folder, "s3://b/circle-1").unwrap(), Some(Hash::of(b"behind a circle")));
}

#[cfg(target_os = "linux")]
#[test]
fn an_unreadable_payload_is_an_error_and_not_a_verdict() {
    // Reads of the first page of memory fail, even for root.
    let folder = PayloadFolder::open(Path::new("/proc/self")).unwrap();
    let error = look_up(&folder, "mem").unwrap_err();
    assert_eq!((error.device_id.as_str(), error.sequence, error.object_ref.as_str()), ("lift-01", 1, "mem"));
}

#[test]
fn the_payload_of_a_record_is_the_file_with_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("x"), b"of the reference x");
    write(&dir.path().join("b/x"), b"of the reference s3://b/x");
    let folder = PayloadFolder::open(dir.path()).unwrap();
    let mut record = some_records(1).remove(0);
    record.payload_hash = Hash::of(b"stored");
    let stored = content_path(&record);
    write(&dir.path().join(stored), b"stored");
    for (object_ref, payload) in [
        ("x", &b"of the reference x"[..]),
        ("s3://b/x", b"of the reference s3://b/x"),
        // The same key in another bucket: the first file is compared, as before.
        ("s3://c/x", b"of the reference x"),
        ("x", b"stored"),
        ("s3://b/nothing", b"stored"),
        ("../nothing", b"stored"),
    ] {
        record.object_ref = object_ref.to_owned();
        record.payload_hash = Hash::of(payload);
        assert_eq!(folder.payload_hash(&record).unwrap(), Some(record.payload_hash), "{object_ref}");
        assert_eq!(folder.read(&record, 100).unwrap().as_deref(), Some(payload), "{object_ref}");
    }
    // Another device cannot use stored payloads.
    record.device_id = "lift-02".into();
    assert_eq!(folder.payload_hash(&record).unwrap(), None);
}

#[test]
fn a_folder_must_be_one() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("file"), b"");
    for path in [dir.path().join("missing"), dir.path().join("file")] {
        let error = PayloadFolder::open(&path).unwrap_err();
        assert!(matches!(error, Error::Io { action: "open the payload directory", .. }), "{error}");
    }
}
