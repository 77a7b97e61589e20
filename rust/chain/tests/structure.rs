//! What the parts of the workspace never import, and what a device never compiles.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates from the bottom up: each imports only those before it.
const FLOORS: [&str; 9] = [
    "edgesentry-chain",
    "edgesentry-log",
    "edgesentry-formats",
    "edgesentry-device",
    "edgesentry-rs",
    "edgesentry-serve",
    "edgesentry-ops",
    "eds",
    "edgesentry-python",
];

/// Libraries that only some crates name.
const NAMED_BY: [(&str, &[&str]); 8] = [
    ("pyo3", &["edgesentry-python"]),
    ("axum", &["edgesentry-serve"]),
    ("rumqttc-v5-next", &["edgesentry-serve"]),
    ("sqlx", &["edgesentry-device", "edgesentry-rs"]),
    ("aws-sdk-s3", &["edgesentry-rs", "edgesentry-ops"]),
    ("aws-config", &["edgesentry-rs"]),
    ("opentelemetry-otlp", &["edgesentry-rs"]),
    ("clap", &["eds"]),
];

/// Modules of a crate, and those of the same crate that they never import.
const NEVER: [(&str, &[&str], &[&str]); 11] = [
    ("edgesentry-rs", &["admission"], &["ingest", "ledger", "payload", "settings", "telemetry", "transport"]),
    ("edgesentry-rs", &["ledger"], &["ingest", "log", "settings", "transport"]),
    ("edgesentry-rs", &["log"], &["admission", "ingest", "payload", "settings", "transport"]),
    ("edgesentry-rs", &["objects"], &["ingest", "ledger", "log", "payload", "settings", "telemetry"]),
    ("edgesentry-rs", &["payload"], &["ingest", "ledger", "settings", "transport"]),
    ("edgesentry-rs", &["telemetry"], &["ingest", "settings", "transport"]),
    ("edgesentry-rs", &["settings"], &["transport"]),
    ("edgesentry-serve", &["mqtt"], &["http"]),
    ("edgesentry-serve", &["http"], &["mqtt"]),
    ("edgesentry-device", &["wire", "client"], &["outbox", "sql", "sqlite"]),
    ("edgesentry-ops", &["backup", "restore", "wal", "observe"], &["servers", "drill"]),
];

/// Libraries that no device compiles, with the outbox.
const NOT_ON_A_DEVICE: [&str; 7] =
    ["axum", "aws-sdk-s3", "hyper", "opentelemetry", "prometheus-client", "rumqttc-v5-next", "sqlx-postgres"];
/// And without features.
const NOT_IN_A_SIGNER: [&str; 5] = ["hyper", "libsqlite3-sys", "rustls", "sqlx", "tokio"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).current_dir(root()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The crates of the workspace: name, folder, and what they depend on but for tests.
fn crates() -> Vec<(String, PathBuf, Vec<String>)> {
    let text = cargo(&["metadata", "--no-deps", "--locked", "--offline", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&text).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let name = package["name"].as_str().unwrap().to_owned();
            let manifest = Path::new(package["manifest_path"].as_str().unwrap());
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            let names = normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
            (name, manifest.parent().unwrap().to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn crates_import_only_those_below_them() {
    let floor = |name: &str| FLOORS.iter().position(|floor| *floor == name);
    for (name, _, dependencies) in crates() {
        let own = floor(&name).unwrap_or_else(|| panic!("{name} has no place in FLOORS"));
        for dependency in dependencies {
            if let Some(theirs) = floor(&dependency) {
                assert!(theirs < own, "{name} imports {dependency}, which is above it");
            }
        }
    }
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    for (name, _, dependencies) in crates() {
        for (library, crates) in NAMED_BY {
            let names = dependencies.iter().any(|dependency| dependency == library);
            assert!(!names || crates.contains(&&*name), "{name} depends on {library}");
        }
    }
}

#[test]
fn modules_import_no_module_that_they_must_not() {
    let crates = crates();
    for (name, modules, others) in NEVER {
        let (_, folder, _) = crates.iter().find(|(each, ..)| each == name).unwrap();
        for module in modules {
            let mut imports = BTreeSet::new();
            let sources = sources(&folder.join("src"), module);
            assert!(!sources.is_empty(), "{name} has no module {module}");
            for (depth, source) in sources {
                imports.extend(imported(&fs::read_to_string(source).unwrap(), depth));
            }
            let wrong: Vec<&str> = others.iter().copied().filter(|other| imports.contains(*other)).collect();
            assert!(wrong.is_empty(), "{name}: {module} imports {wrong:?}");
        }
    }
}

/// The files of a module, each with the depth of its own module below the crate.
fn sources(folder: &Path, module: &str) -> Vec<(usize, PathBuf)> {
    let mut found = Vec::new();
    let file = folder.join(module).with_extension("rs");
    found.extend(file.exists().then_some((1, file)));
    let mut open = vec![(1, folder.join(module))];
    while let Some((depth, folder)) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push((depth + 1, path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((depth + 1, path));
            }
        }
    }
    found
}

/// The modules right below the crate that a text names, by `crate::` or by enough `super::`.
fn imported(text: &str, depth: usize) -> BTreeSet<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code: String = code.collect::<Vec<_>>().join("\n");
    let up = "super::".repeat(depth);
    let mut modules = BTreeSet::new();
    for prefix in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            // One more `super::` in front belongs to a deeper path, and `$crate::` is a macro's.
            if code[..at].ends_with("super::") {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            // A group names several.
            let names = match rest.strip_prefix('{') {
                Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
                None => vec![rest],
            };
            for name in names {
                let name = name.trim_start().split(|c: char| !c.is_alphanumeric() && c != '_').next();
                modules.insert(name.unwrap_or_default().to_owned());
            }
        }
    }
    modules
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::ledger::Filter;\nuse super::super::ingest::Limits;\nlet x = crate::{payload, sql::failed};\n\
                // use crate::settings;\nuse super::near;";
    let found: Vec<String> = imported(text, 2).into_iter().collect();
    assert_eq!(found, ["ingest", "ledger", "payload", "sql"]);
}

#[test]
fn a_device_compiles_neither_the_service_nor_its_stores() {
    for (features, absent) in
        [("outbox", &NOT_ON_A_DEVICE[..]), ("", &NOT_ON_A_DEVICE[..]), ("", &NOT_IN_A_SIGNER[..])]
    {
        let tree = cargo(&[
            "tree",
            "--locked",
            "--offline",
            "--package",
            "edgesentry-device",
            "--no-default-features",
            "--features",
            features,
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        let packages: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(packages.contains("edgesentry-chain"), "{tree}");
        for library in absent {
            assert!(!packages.contains(library), "with features {features:?} a device compiles {library}");
        }
    }
}
