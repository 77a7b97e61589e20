//! The directory that a demo writes.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use edgesentry_chain::{AuditRecord, Hash, Heads, KeyRing};
use edgesentry_formats::{NewFile, PayloadFolder, Readers, RecordWriter};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::fleet::{Fleet, WATER};
use crate::{inputs, random, tamper};

/// Marks a directory of a demo; one without it must not be touched.
const MARKER: &str = ".edgesentry-demo";
/// The directory of the devices' outboxes.
const OUTBOXES: &str = "outbox";
/// The directory of the ledgers with a log.
const LOG: &str = "log";

/// The directory of the evidence bundle.
const BUNDLE: &str = "bundle";

/// A directory with a demo and nothing else.
pub(super) struct DemoFolder(PathBuf);

impl DemoFolder {
    /// Creates the directory, or takes over that of an earlier demo. Rejects a directory with other files.
    pub(super) fn claim(path: &Path) -> Result<DemoFolder, Failure> {
        let marker = path.join(MARKER);
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() && !marker.exists() {
                    let message = format!(
                        "{}: exists and was not made by eds demo, so nothing was written; pass another directory with \
                         --dir",
                        path.display()
                    );
                    return Err(Failure::usage("folder_not_ours", message));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path).map_err(|error| cannot("create", path, &error))?;
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                let message = format!("{}: is not a directory; pass another with --dir", path.display());
                return Err(Failure::usage("folder_not_ours", message));
            }
            Err(error) => return Err(cannot("read", path, &error)),
        }
        write(&marker, b"Made by eds demo, which may replace this directory.\n")?;
        Ok(DemoFolder(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the whole fleet's export.
    pub(super) fn export(&self) -> PathBuf {
        self.0.join("export.json")
    }

    /// Returns the path of the export of [`WATER`].
    pub(super) fn water_export(&self) -> PathBuf {
        self.0.join("water-branch-1.json")
    }

    /// Returns the path of the ledger, which contains the payloads.
    pub(super) fn ledger(&self) -> PathBuf {
        self.0.join("edgesentry.db")
    }

    /// Returns the path of a device's outbox.
    pub(super) fn outbox(&self, device_id: &str) -> PathBuf {
        self.0.join(OUTBOXES).join(format!("{device_id}.db"))
    }

    /// Returns the path of a file beside the ledgers with a log.
    pub(super) fn of_log(&self, file: &str) -> PathBuf {
        self.0.join(LOG).join(file)
    }

    /// Returns the path of a file beside the evidence bundle.
    pub(super) fn of_bundle(&self, file: &str) -> PathBuf {
        self.0.join(BUNDLE).join(file)
    }

    /// Opens the payloads of [`WATER`].
    pub(super) fn payloads(&self) -> Result<PayloadFolder, Failure> {
        inputs::payloads(&self.0.join("payloads"))
    }

    /// Removes the databases of an earlier demo: its chains would continue.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        let ledger = self.ledger();
        for suffix in ["", "-wal", "-shm"] {
            let mut file = ledger.clone().into_os_string();
            file.push(suffix);
            let file = PathBuf::from(file);
            absent_is_fine(fs::remove_file(&file)).map_err(|error| cannot("remove", &file, &error))?;
        }
        for folder in [OUTBOXES, LOG, BUNDLE] {
            let folder = self.0.join(folder);
            absent_is_fine(fs::remove_dir_all(&folder)).map_err(|error| cannot("remove", &folder, &error))?;
            fs::create_dir(&folder).map_err(|error| cannot("create", &folder, &error))?;
        }
        Ok(())
    }

    /// Writes the settings of a service with a console for the ledger, and the token for it.
    pub(super) fn write_console(&self) -> Result<(), Failure> {
        let ledger = self.ledger();
        let ledger = std::path::absolute(&ledger).map_err(|error| cannot("find", &ledger, &error))?;
        let mut secret = Zeroizing::new([0_u8; 32]);
        random::fill(&mut secret[..])?;
        let token = Zeroizing::new(format!("eds_{}", hex::encode(&secret[..])));
        let settings = format!(
            "# Settings of eds serve for the ledger of this demo. Its console is at http://127.0.0.1:8080/console; the token is in \
             console.token.\nledger = {}\n\n[serve.console]\nenabled = true\n\n[serve.tokens.demo]\nhash = \"{}\"\n\
             scopes = [\"read\"]\n",
            // A string of JSON is one of TOML.
            serde_json::Value::from(format!("sqlite:{}", ledger.display())),
            Hash::of(token.as_bytes()),
        );
        write(&self.0.join("console.toml"), settings.as_bytes())?;
        let path = self.0.join("console.token");
        let mut file =
            NewFile::beside(&path, Readers::Owner).map_err(|error| cannot("write", &path, &error))?;
        let written = file.write_all(format!("{}\n", *token).as_bytes()).and_then(|()| file.replace());
        written.map_err(|error| cannot("write", &path, &error))
    }

    /// Writes keys and heads.
    pub(super) fn write_trust(&self, keys: &KeyRing, heads: &Heads) -> Result<(), Failure> {
        write(&self.0.join("keys.json"), edgesentry_formats::write_key_ring(keys).as_bytes())?;
        write(&self.0.join("heads.json"), edgesentry_formats::write_heads(heads).as_bytes())
    }

    /// Writes a tampered chain and the payloads of [`WATER`] for the commands that the demo suggests.
    pub(super) fn fill(&self, fleet: &Fleet) -> Result<(), Failure> {
        let mut water: Vec<AuditRecord> = fleet.of(WATER).map(|(record, _)| record.clone()).collect();
        tamper::delete(&mut water, WATER, fleet.last(WATER) / 2);
        let mut writer = RecordWriter::create(&self.0.join("tampered.json"))?;
        writer.write(&water)?;
        writer.finish()?;

        let payloads = self.0.join("payloads").join(WATER);
        fs::create_dir_all(&payloads).map_err(|error| cannot("create", &payloads, &error))?;
        for (record, payload) in fleet.of(WATER) {
            write(&payloads.join(format!("{}.csv", record.sequence)), payload)?;
        }
        Ok(())
    }
}

fn absent_is_fine(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| cannot("write", path, &error))
}

fn cannot(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::unfinished("io", format!("{}: cannot {action}: {error}", path.display()))
}
