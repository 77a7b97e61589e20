//! Files that commands write: decided before anything is read, written whole or not at all.

use std::path::{Path, PathBuf};

use edgesentry_formats::{Destination, Destinations, Readers};
use edgesentry_rs::Settings;

use crate::exit::Failure;

/// Notes files that a command reads, each with what it is read as.
pub(crate) fn read<'a>(
    destinations: &mut Destinations,
    files: impl IntoIterator<Item = (&'a str, Option<&'a PathBuf>)>,
) {
    for (role, path) in files {
        if let Some(path) = path {
            destinations.read(role, path);
        }
    }
}

/// Notes the files and folders of the stores.
pub(crate) fn read_stores(destinations: &mut Destinations, settings: &Settings) {
    if let Some(ledger) = settings.ledger_file() {
        destinations.read_database("the ledger", &ledger);
    }
    if let Some(payloads) = settings.payload_folder() {
        destinations.read_folder("payloads", &payloads);
    }
}

/// Writes a text.
pub(crate) fn save(destination: &Destination, path: &Path, text: &str) -> Result<(), Failure> {
    let text = text.trim_end().to_owned() + "\n";
    destination.write(Readers::Umask, text.as_bytes()).map_err(|error| cannot_write(path, &error))
}

/// Writes a text to a path that the command has made up itself.
pub(crate) fn save_to(path: &Path, text: &str) -> Result<(), Failure> {
    save(&Destination::of("output", path)?, path, text)
}

pub(crate) fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unfinished("io", format!("{}: cannot write: {error}", path.display()))
}
