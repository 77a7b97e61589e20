//! The folder that a demo writes.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use edgesentry_chain::AuditRecord;
use edgesentry_formats::{PayloadFolder, RecordWriter};

use crate::exit::Failure;
use crate::fleet::{Fleet, WATER};
use crate::{inputs, tamper};

/// Tells a folder of ours from one that must not be touched.
const MARKER: &str = ".edgesentry-demo";
/// Records given to the writer at a time.
const RECORDS_AT_A_TIME: usize = 4096;

/// A folder that holds nothing but a demo.
pub(super) struct DemoFolder(PathBuf);

impl DemoFolder {
    /// Makes the folder, or takes over that of an earlier demo. Refuses a folder with anything else in it.
    pub(super) fn claim(path: &Path) -> Result<DemoFolder, Failure> {
        let marker = path.join(MARKER);
        match fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() && !marker.exists() {
                    let message = format!(
                        "{}: exists and was not made by eds demo, so nothing was written; name another folder \
                         with --dir",
                        path.display()
                    );
                    return Err(Failure::usage("folder_not_ours", message));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(path).map_err(|error| cannot("create", path, &error))?;
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                let message = format!("{}: is not a folder; name another with --dir", path.display());
                return Err(Failure::usage("folder_not_ours", message));
            }
            Err(error) => return Err(cannot("read", path, &error)),
        }
        write(&marker, b"Made by eds demo, which may write this folder over.\n")?;
        Ok(DemoFolder(path.to_owned()))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The export of the whole fleet.
    pub(super) fn export(&self) -> PathBuf {
        self.0.join("export.json")
    }

    /// The payloads of [`WATER`].
    pub(super) fn payloads(&self) -> Result<PayloadFolder, Failure> {
        inputs::payloads(&self.0.join("payloads"))
    }

    /// Writes exports, keys, heads and payloads.
    pub(super) fn fill(&self, fleet: &Fleet) -> Result<(), Failure> {
        self.write_records("export.json", &fleet.records)?;
        let mut water: Vec<AuditRecord> = fleet.of(WATER).map(|(record, _)| record.clone()).collect();
        self.write_records("water-branch-1.json", &water)?;
        tamper::delete(&mut water, WATER, fleet.last(WATER) / 2);
        self.write_records("tampered.json", &water)?;
        write(&self.0.join("keys.json"), edgesentry_formats::write_key_ring(&fleet.keys).as_bytes())?;
        write(&self.0.join("heads.json"), edgesentry_formats::write_heads(&fleet.heads).as_bytes())?;

        let payloads = self.0.join("payloads").join(WATER);
        fs::create_dir_all(&payloads).map_err(|error| cannot("create", &payloads, &error))?;
        for (record, payload) in fleet.of(WATER) {
            write(&payloads.join(format!("{}.csv", record.sequence)), payload)?;
        }
        Ok(())
    }

    fn write_records(&self, file: &str, records: &[AuditRecord]) -> Result<(), Failure> {
        let mut writer = RecordWriter::create(&self.0.join(file))?;
        for records in records.chunks(RECORDS_AT_A_TIME) {
            writer.write(records)?;
        }
        writer.finish()?;
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    fs::write(path, bytes).map_err(|error| cannot("write", path, &error))
}

fn cannot(action: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::unfinished("io", format!("{}: cannot {action}: {error}", path.display()))
}
