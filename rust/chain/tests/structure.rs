//! The imports that are forbidden in the workspace, and the libraries that a device never compiles.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The crates from the bottom up: each imports only earlier ones.
const FLOORS: [&str; 12] = [
    "edgesentry-chain",
    "edgesentry-log",
    "edgesentry-timestamp",
    "edgesentry-update",
    "edgesentry-formats",
    "edgesentry-device",
    "edgesentry-capi",
    "edgesentry-rs",
    "edgesentry-serve",
    "edgesentry-ops",
    "eds",
    "edgesentry-python",
];

/// Libraries that only some crates depend on.
const NAMED_BY: [(&str, &[&str]); 11] = [
    ("pyo3", &["edgesentry-python"]),
    ("axum", &["edgesentry-serve"]),
    ("rumqttc-v5-next", &["edgesentry-serve"]),
    ("sqlx", &["edgesentry-device", "edgesentry-rs"]),
    ("rusqlite", &["edgesentry-rs"]),
    ("aws-sdk-s3", &["edgesentry-rs", "edgesentry-ops"]),
    ("aws-config", &["edgesentry-rs"]),
    ("opentelemetry-otlp", &["edgesentry-rs"]),
    ("clap", &["eds"]),
    ("rustls-webpki", &["edgesentry-timestamp"]),
    ("cryptoki", &["edgesentry-device"]),
];

/// Modules of a crate, and the modules of the same crate that they never import.
const NEVER: [(&str, &[&str], &[&str]); 17] = [
    ("edgesentry-chain", &["level"], &["coverage", "finding", "report", "requirement"]),
    ("edgesentry-rs", &["admission"], &["ingest", "ledger", "payload", "settings", "telemetry", "transport"]),
    ("edgesentry-rs", &["ledger"], &["ingest", "log", "settings", "transport"]),
    ("edgesentry-rs", &["log"], &["admission", "ingest", "settings", "transport"]),
    // Only `log::erase` and `log::replaced` delete payloads. Tiles and checkpoints are objects.
    (
        "edgesentry-rs",
        &["log/lock", "log/store", "log/writer", "log/prove", "log/recover", "log/succeed"],
        &["payload"],
    ),
    ("edgesentry-rs", &["objects"], &["ingest", "ledger", "log", "payload", "settings", "telemetry"]),
    ("edgesentry-rs", &["payload"], &["ingest", "ledger", "settings", "transport"]),
    ("edgesentry-rs", &["telemetry"], &["ingest", "settings", "transport"]),
    ("edgesentry-rs", &["settings"], &["transport"]),
    ("edgesentry-serve", &["mqtt"], &["http"]),
    ("edgesentry-serve", &["http"], &["mqtt"]),
    ("edgesentry-serve", &["app"], &["http", "console", "mqtt", "server"]),
    ("edgesentry-serve", &["console"], &["http", "mqtt", "server"]),
    ("edgesentry-serve", &["settings"], &["console", "http", "mqtt", "rates", "server", "tls", "tokens"]),
    ("edgesentry-device", &["wire", "client"], &["outbox", "sql", "sqlite"]),
    ("edgesentry-ops", &["backup", "restore", "wal", "observe"], &["servers", "drill"]),
    ("edgesentry-ops", &["textfile"], &["drill", "servers"]),
];

/// The crates whose public enums and errors may grow: other programs match them with a default.
const MAY_GROW: [&str; 9] =
    ["chain", "log", "timestamp", "update", "formats", "device", "edgesentry-rs", "serve", "ops"];

/// Types that stay exhaustive, or that others make: crate, type, and why.
const FIXED: [(&str, &str, &str); 26] = [
    ("chain", "Scheme", "each place that signs, verifies or stores a key decides about each scheme"),
    ("chain", "Verdict", "no verdict is shown as a pass by default"),
    ("chain", "Order", "each place that joins segments decides about each order"),
    ("chain", "Level", "reports and requirements decide about each level"),
    ("chain", "FindingCode", "each code has a level and a page"),
    ("chain", "PayloadError", "every implementation of Payloads makes it"),
    ("log", "Statement", "every report decides about each statement"),
    ("log", "TileKind", "the specification of tiles has these two"),
    ("formats", "RecordBatch", "it stands for a type of Arrow in builds without Arrow, and has no value"),
    ("device", "Fault", "each fault has an exit code"),
    ("device", "Component", "each has its event and its metric"),
    ("device", "FailureKind", "it decides what becomes of a record"),
    ("device", "RejectionCode", "the HTTP status and the kept evidence depend on it"),
    ("device", "OutcomeKind", "each place that acts on an outcome decides about each kind"),
    ("device", "Outcome", "like its kind"),
    ("device", "StoreError", "every store makes it"),
    ("edgesentry-rs", "Entry", "a ledger decides about each kind of entry"),
    ("edgesentry-rs", "Decision", "no decision may be lost"),
    ("edgesentry-rs", "Written", "a write that stored nothing must not pass for one that did"),
    ("edgesentry-rs", "ErasureState", "no payload counts as erased by default"),
    ("edgesentry-rs", "ErasureStep", "a ledger notes each step"),
    ("serve", "Stopped", "the exit code of the service follows it"),
    ("ops", "Holds", "each kind of bucket has its own rules of protection"),
    ("ops", "State", "the exit code follows it"),
    ("ops", "Status", "exit codes and reports decide about each"),
    ("ops", "Fetched", "PostgreSQL ends or stops its recovery by it"),
];

/// The crates that do no I/O and use no clock.
const PURE: [&str; 4] = ["chain", "log", "timestamp", "update"];
/// Paths that they never name.
const IMPURE: [&str; 8] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env::",
    "SystemTime::now",
    "Instant::now",
    "File::open",
];

/// The crates that no Rust program depends on, so that their public enums need not grow: a library for C, a command and
/// a module for Python.
const NOT_FOR_RUST: [&str; 3] = ["capi", "eds", "python"];

/// Libraries that no device compiles, even with the outbox.
const NOT_ON_A_DEVICE: [&str; 7] =
    ["axum", "aws-sdk-s3", "hyper", "opentelemetry", "prometheus-client", "rumqttc-v5-next", "sqlx-postgres"];
/// Further libraries that a signer without features does not compile.
const NOT_IN_A_SIGNER: [&str; 6] = ["hyper", "libsqlite3-sys", "ring", "rustls", "sqlx", "tokio"];

/// The files that may have unsafe code.
const UNSAFE: [&str; 12] = [
    "capi/src/border.rs",
    "capi/src/exports.rs",
    "capi/src/http_exports.rs",
    "capi/src/outbox_exports.rs",
    "capi/src/signer_exports.rs",
    "capi/src/token_exports.rs",
    "capi/src/update_exports.rs",
    "chain/src/rsum/avx2.rs",
    // The test of that module.
    "chain/src/rsum/field_tests.rs",
    "chain/src/vector/avx2.rs",
    "chain/src/vector/ifma.rs",
    "formats/src/json/block/x86.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).current_dir(root()).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the crates of the workspace: name, directory, and dependencies except those for tests.
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
fn libraries_are_named_only_in_their_modules() {
    for (name, _, dependencies) in crates() {
        for (library, crates) in NAMED_BY {
            let names = dependencies.iter().any(|dependency| dependency == library);
            assert!(!names || crates.contains(&&*name), "{name} depends on {library}");
        }
    }
}

#[test]
fn unsafe_code_is_only_in_the_listed_files() {
    let folder = root().join("rust").canonicalize().unwrap();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(&folder).unwrap() {
        for (_, source) in sources(&entry.unwrap().path(), "src") {
            // The lint of the workspace denies it elsewhere.
            if fs::read_to_string(&source).unwrap().contains("allow(unsafe_code)") {
                found.insert(source.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    assert_eq!(found, UNSAFE.map(str::to_owned).into());
}

#[test]
fn pure_crates_do_no_input_or_output() {
    for name in PURE {
        let sources = sources(&root().join("rust").join(name), "src");
        assert!(!sources.is_empty(), "there is no crate {name}");
        for (_, source) in sources {
            let text = fs::read_to_string(&source).unwrap();
            // Tests may read files.
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let found: Vec<&str> = IMPURE.into_iter().filter(|path| text.contains(path)).collect();
            assert!(found.is_empty(), "{} names {found:?}", source.display());
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

/// Returns the files of a module, each with the depth of its own module below the crate.
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

/// Returns the top-level modules of the crate that a text names, by `crate::` or by enough `super::`.
fn imported(text: &str, depth: usize) -> BTreeSet<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    let code: String = code.collect::<Vec<_>>().join("\n");
    let up = "super::".repeat(depth);
    let mut modules = BTreeSet::new();
    for prefix in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            // A further `super::` in front belongs to a deeper path; `$crate::` belongs to a macro.
            if code[..at].ends_with("super::") {
                continue;
            }
            let rest = &code[at + prefix.len()..];
            // A group names several modules.
            let names = match rest.strip_prefix('{') {
                Some(group) => members(group),
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

/// Returns the members of a group of imports, whose text follows its opening brace. A member may have a group of its own.
fn members(group: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut begin, mut depth) = (0, 0);
    for (at, c) in group.char_indices() {
        match (c, depth) {
            ('{', _) => depth += 1,
            (',' | '}', 0) => {
                found.push(&group[begin..at]);
                begin = at + 1;
                if c == '}' {
                    break;
                }
            }
            ('}', _) => depth -= 1,
            _ => {}
        }
    }
    found
}

#[test]
fn imports_are_found_however_they_are_written() {
    let text = "use crate::ledger::Filter;\nuse super::super::ingest::Limits;\nlet x = crate::{payload, sql::failed};\n\
                use crate::{log::{lock::{Held, Lock}, store}, admission::Rotation,\n    client};\nfn f() { a, transport }\n\
                // use crate::settings;\nuse super::near;";
    let found: Vec<String> = imported(text, 2).into_iter().collect();
    assert_eq!(found, ["admission", "client", "ingest", "ledger", "log", "payload", "sql"]);
}

#[test]
fn public_enums_and_errors_can_grow() {
    let folder = |(_, folder, _): (String, PathBuf, Vec<String>)| folder.file_name().unwrap().to_owned();
    let all: BTreeSet<_> = crates().into_iter().map(folder).collect();
    assert_eq!(MAY_GROW.into_iter().chain(NOT_FOR_RUST).map(Into::into).collect::<BTreeSet<_>>(), all);
    let mut fixed = BTreeSet::new();
    for name in MAY_GROW {
        let mut found = 0;
        for (_, source) in sources(&root().join("rust").join(name), "src") {
            let text = fs::read_to_string(&source).unwrap();
            for declared in growing(&text) {
                found += 1;
                let listed =
                    FIXED.iter().find(|(krate, listed, _)| *krate == name && *listed == declared.name);
                match listed {
                    Some((_, listed, _)) => {
                        assert!(!declared.grows, "{name}: {listed} is non_exhaustive and in FIXED");
                        assert!(
                            !declared.is_enum || *listed == "RecordBatch" || declared.says_so,
                            "{name}: {listed}: say why it is exhaustive"
                        );
                        fixed.insert((name, *listed));
                    }
                    None => assert!(
                        declared.grows,
                        "{}: {} is neither #[non_exhaustive] nor in FIXED",
                        source.display(),
                        declared.name
                    ),
                }
            }
        }
        assert!(found > 0, "{name} has no public enum");
    }
    assert_eq!(fixed.len(), FIXED.len(), "FIXED has a type that is gone: {fixed:?}");
}

/// A public enum or error type.
struct Declared {
    name: String,
    is_enum: bool,
    grows: bool,
    /// Whether its documentation says that it is exhaustive.
    says_so: bool,
}

/// The public enums of a text, and its public errors but for those that have private fields only.
fn growing(text: &str) -> Vec<Declared> {
    let mut found = Vec::new();
    let mut above = String::new();
    for line in text.lines().map(str::trim) {
        let declared = ["pub enum ", "pub struct "].into_iter().find_map(|kind| line.strip_prefix(kind));
        if let Some(rest) = declared {
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let is_enum = line.starts_with("pub enum");
            let is_open_error = above.contains("thiserror::Error") && !rest[name.len()..].starts_with('(');
            if is_enum || is_open_error {
                let grows = above.contains("#[non_exhaustive]");
                found.push(Declared {
                    name,
                    is_enum,
                    grows,
                    says_so: above.to_lowercase().contains("exhaustive"),
                });
            }
        }
        if line.starts_with("///") || line.starts_with("#[") || line.starts_with("$(#[") {
            above.push_str(line);
        } else {
            above.clear();
        }
    }
    found
}

#[test]
fn a_device_compiles_neither_the_service_nor_its_stores() {
    for (package, features, absent) in [
        ("edgesentry-device", "outbox", &NOT_ON_A_DEVICE[..]),
        ("edgesentry-device", "", &NOT_ON_A_DEVICE[..]),
        ("edgesentry-device", "", &NOT_IN_A_SIGNER[..]),
        ("edgesentry-capi", "outbox,pkcs11", &NOT_ON_A_DEVICE[..]),
        ("edgesentry-capi", "outbox,pkcs11", &["ring", "rustls"]),
        ("edgesentry-capi", "", &NOT_IN_A_SIGNER[..]),
    ] {
        let tree = cargo(&[
            "tree",
            "--locked",
            "--offline",
            "--package",
            package,
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
            assert!(!packages.contains(library), "{package} with features {features:?} compiles {library}");
        }
    }
}
