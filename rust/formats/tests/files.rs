//! The files that directories, patterns and URLs stand for.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use edgesentry_formats::{files_of, path_of_url};

fn names(folder: &Path, pattern: &str) -> Result<Vec<String>, String> {
    let files = files_of(&folder.join(pattern)).map_err(|error| error.to_string())?;
    let below = |file: PathBuf| file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
    Ok(files.into_iter().map(below).collect())
}

fn write(path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "").unwrap();
}

#[test]
fn a_directory_is_read_as_hive_does_in_the_order_of_paths() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in [
        "day=2/b.parquet",
        "day=10/a.parquet",
        "day=2/a.parquet",
        "_SUCCESS",
        ".a.crc",
        "_tmp/x",
        "_day=1/c",
        "z",
    ] {
        write(&folder.join(name));
    }
    let all = ["_day=1/c", "day=10/a.parquet", "day=2/a.parquet", "day=2/b.parquet", "z"];
    assert_eq!(names(folder, "").unwrap(), all);
    assert_eq!(names(folder, "day=*/a.parquet").unwrap(), ["day=10/a.parquet", "day=2/a.parquet"]);
    assert_eq!(names(folder, "**/a*").unwrap(), ["day=10/a.parquet", "day=2/a.parquet"]);
    assert!(names(folder, "*.json").unwrap_err().contains("no file has a name of this pattern"));
    // A file whose name is a pattern is that file.
    write(&folder.join("[a].json"));
    write(&folder.join("a.json"));
    assert_eq!(names(folder, "[a].json").unwrap(), ["[a].json"]);
    fs::create_dir(folder.join("empty")).unwrap();
    assert!(names(folder, "empty").unwrap_err().contains("has no files"));
    // Reported by the reader.
    assert_eq!(names(folder, "missing").unwrap(), ["missing"]);
}

#[test]
fn a_table_is_never_all_files_of_its_directory() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(&folder.join("delta/_delta_log/0.json"));
    write(&folder.join("delta/day=1/a.parquet"));
    write(&folder.join("ice/metadata/00001-x.metadata.json"));
    write(&folder.join("ice/data/a.parquet"));
    write(&folder.join("hudi/.hoodie/x"));
    write(&folder.join("hudi/a.parquet"));
    for (name, kind) in [
        ("delta", "a Delta table"),
        ("delta/day=1", "a Delta table"),
        ("delta/*/*.parquet", "a Delta table"),
        ("ice", "an Iceberg table"),
        ("ice/data", "an Iceberg table"),
        ("ice/data/*", "an Iceberg table"),
        ("hudi", "a Hudi table"),
        ("", "a Delta table"),
    ] {
        let error = names(folder, name).unwrap_err();
        assert!(error.contains(kind), "{name}: {error}");
    }
    // A directory called metadata makes no table.
    write(&folder.join("plain/metadata/a.parquet"));
    assert_eq!(names(folder, "plain").unwrap(), ["plain/metadata/a.parquet"]);
}

#[cfg(unix)]
#[test]
fn links_do_not_lead_out_of_a_directory_or_around_in_it() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(&folder.join("in/a"));
    write(&folder.join("out"));
    symlink("a", folder.join("in/b")).unwrap();
    assert_eq!(names(folder, "in").unwrap(), ["in/a", "in/b"]);
    symlink("../out", folder.join("in/c")).unwrap();
    assert!(names(folder, "in").unwrap_err().contains("leads out of the directory"));
    fs::remove_file(folder.join("in/c")).unwrap();
    symlink(".", folder.join("in/d")).unwrap();
    assert!(names(folder, "in").unwrap_err().contains("a link to a directory"));
}

#[test]
fn file_urls_are_decoded() {
    let path = |url: &str| path_of_url(url).map(|path| path.map_err(|error| error.to_string()));
    let is = |text: &str| Some(Ok(PathBuf::from(text)));
    assert_eq!(path("file:///a%20b/c%C3%BC.json"), is("/a b/c\u{fc}.json"));
    assert_eq!(path("file:/a"), is("/a"));
    assert_eq!(path("file://localhost/a%25"), is("/a%"));
    for url in [
        "file://host/a",
        "file:///a%0",
        "file:///a%zz",
        "file:///a%00",
        "file:///a?b",
        "file:///a#b",
        "file:///%",
    ] {
        assert!(path(url).unwrap().is_err(), "{url}");
    }
    assert_eq!(path("file:a"), None);
    assert_eq!(path("/a"), None);
}
