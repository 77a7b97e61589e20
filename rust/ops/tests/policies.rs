//! The policies as files, for operators who set up a bucket by other means.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use edgesentry_ops::s3::{Holds, Policy, policies};

/// `EDGESENTRY_WRITE=1` regenerates them.
#[test]
fn the_files_of_deploy_are_the_policies() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/iam");
    let mut names = Vec::new();
    for (bucket, holds) in [("audit-payloads", Holds::Payloads), ("audit-archive", Holds::Archive)] {
        for Policy { role, document, .. } in policies(bucket, holds) {
            let text = serde_json::to_string_pretty(&document).unwrap() + "\n";
            let path = folder.join(format!("{role}.json"));
            if std::env::var_os("EDGESENTRY_WRITE").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{}", path.display());
            names.push(format!("{role}.json"));
        }
    }
    let entries = std::fs::read_dir(&folder).unwrap();
    let mut there: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    there.sort();
    names.sort();
    assert_eq!(there, names);
}
