//! The manual pages, the completions and the reference of the command match its parser.
//!
//! `make generated` writes them: this test with `EDGESENTRY_WRITE=1`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[test]
fn the_pages_on_the_command_line_are_generated() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let files = eds::reference::files();
    if std::env::var_os("EDGESENTRY_WRITE").is_some() {
        let _ = std::fs::remove_dir_all(root.join("packaging/data"));
        for (path, text) in &files {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
    let mut stale: Vec<&str> = Vec::new();
    for (path, text) in &files {
        if std::fs::read_to_string(root.join(path)).ok().as_ref() != Some(text) {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "run make generated; these are not what the parser says: {stale:#?}");
    let known: BTreeSet<PathBuf> = files.iter().map(|(path, _)| root.join(path)).collect();
    let left = found(&root.join("packaging/data"), &known);
    assert!(left.is_empty(), "run make generated; of commands that are gone: {left:#?}");
}

/// Returns the files of a directory that are not among the known ones.
fn found(folder: &Path, known: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            left.extend(found(&path, known));
        } else if !known.contains(&path) {
            left.push(path);
        }
    }
    left
}
