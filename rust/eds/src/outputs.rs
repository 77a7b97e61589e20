//! Output files of commands: checked before anything is read, and written atomically.

use std::path::{Path, PathBuf};

use edgesentry_formats::{Destination, Destinations, Readers};
use edgesentry_rs::Settings;

use crate::exit::Failure;

/// Registers input files of a command, each with its purpose.
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

/// Registers the files and directories of the stores.
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

/// Writes a text to a path that the command has chosen itself.
pub(crate) fn save_to(path: &Path, text: &str) -> Result<(), Failure> {
    save(&Destination::of("output", path)?, path, text)
}

pub(crate) fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::file(format!("{}: cannot write: {error}", path.display()), error)
}
