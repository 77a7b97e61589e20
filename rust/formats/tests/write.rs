//! Writes records and reads them back.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{self, Write};
use std::path::Path;

use common::*;
use edgesentry_formats::{Compression, Error, Format, RecordWriter, Source, records};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_layout_is_read_back(
        written_records in proptest::collection::vec(any_record(), 0..40), slice in 1..50usize,
    ) {
        for (format, compression, name) in LAYOUTS {
            let bytes = written(&written_records, format, compression, slice);
            let entries = read_bytes(bytes).map_err(|error| TestCaseError::fail(sentence(&error)))?;
            let read: Result<Vec<_>, _> = entries.into_iter().collect();
            prop_assert_eq!(read.as_ref(), Ok(&written_records), "{}", name);
        }
    }
}

#[test]
fn how_records_are_sliced_does_not_show() {
    let sample = some_records(40_000);
    for (format, compression, name) in LAYOUTS {
        let whole = written(&sample, format, compression, sample.len());
        for slice in [1, 7, 16_384, 16_385] {
            assert!(written(&sample, format, compression, slice) == whole, "{name} in slices of {slice}");
        }
    }
}

#[test]
fn json_has_the_fields_in_order_and_bytes_as_integers() {
    let sample = some_records(2);
    let text = String::from_utf8(written(&sample, Format::Json, Compression::None, 1)).unwrap();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value[1]["payload_hash"][31], sample[1].payload_hash.0[31]);
    let mut places =
        edgesentry_chain::FIELDS.iter().map(|field| text.find(&format!("\"{field}\":")).unwrap());
    assert!(places.clone().is_sorted());
    assert_eq!(places.next(), Some(3));
    assert_eq!(written(&[], Format::Json, Compression::None, 1), b"[]\n");
    assert_eq!(written(&[], Format::Ndjson, Compression::None, 1), b"");
}

#[test]
fn files_appear_complete_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    for (_, _, ending) in LAYOUTS {
        let path = folder.path().join(format!("export.{ending}"));
        std::fs::write(&path, "before").unwrap();
        let mut dropped = RecordWriter::create(&path).unwrap();
        dropped.write(&some_records(100)).unwrap();
        assert_eq!(files(), 2);
        drop(dropped);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");

        let mut writer = RecordWriter::create(&path).unwrap();
        writer.write(&some_records(60)).unwrap();
        writer.write(&[]).unwrap();
        assert_eq!(writer.finish().unwrap(), 60);
        let read: Vec<_> =
            records(Source::Path(path.clone())).unwrap().map(|entry| entry.unwrap().unwrap()).collect();
        assert_eq!(read, some_records(60));
        assert_eq!(files(), 1);
        std::fs::remove_file(&path).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn files_keep_the_mode_and_the_link_of_replaced_files() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &Path| {
        let mut writer = RecordWriter::create(path).unwrap();
        writer.write(&some_records(3)).unwrap();
        writer.finish().unwrap();
    };
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let (new, private) = (folder.path().join("new.json"), folder.path().join("private.json"));
    std::fs::write(folder.path().join("plain"), "").unwrap();
    write(&new);
    assert_eq!(mode(&new), mode(&folder.path().join("plain")));

    std::fs::write(&private, "").unwrap();
    std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
    let link = folder.path().join("link.json");
    symlink(&private, &link).unwrap();
    write(&link);
    assert_eq!(mode(&private), 0o600);
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(private.metadata().unwrap().len() > 100);
}

#[test]
fn names_without_a_known_format_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["export", "export.csv", "export.parquet.gz", "json"] {
        let error = RecordWriter::create(&folder.path().join(name)).err().unwrap();
        assert!(sentence(&error).contains("has no known format"), "{error}");
    }
    std::fs::create_dir(folder.path().join("folder.json")).unwrap();
    let error = RecordWriter::create(&folder.path().join("folder.json")).err().unwrap();
    assert!(sentence(&error).ends_with("cannot create: it is a directory"), "{}", sentence(&error));
    let error = RecordWriter::create(&folder.path().join("no/folder.json")).err().unwrap();
    assert!(matches!(error, Error::Io { action: "create", .. }));
    let gzip = RecordWriter::to_writer("x".into(), Box::new(io::sink()), Format::Parquet, Compression::Gzip);
    assert!(gzip.is_err());
}

/// A disk that fills up.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let size = bytes.len().min(self.0);
        self.0 -= size;
        Ok(size)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_write_that_fails_is_never_finished() {
    let sample = some_records(20_000);
    for (format, compression, name) in LAYOUTS {
        let full = written(&sample, format, compression, 1000).len();
        for room in [0, 3, 100, full / 2, full - 1] {
            let outcome = RecordWriter::to_writer("disk".into(), Box::new(Full(room)), format, compression)
                .and_then(|mut writer| {
                    let failed = sample.chunks(1000).any(|slice| writer.write(slice).is_err());
                    let count = writer.finish()?;
                    assert!(!failed, "{name} with room for {room} was finished after a failure");
                    Ok(count)
                });
            let error = outcome.err().unwrap_or_else(|| panic!("{name} fits into {room} of {full} bytes"));
            assert!(matches!(error, Error::Io { action: "write", .. }), "{error:?}");
        }
    }
}
