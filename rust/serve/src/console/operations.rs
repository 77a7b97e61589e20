//! Backups and drills by their age, from the metrics file that they write.

use std::io;
use std::path::PathBuf;

use edgesentry_formats::read_file;
use edgesentry_rs::error::describe;

use super::exposition::{MAX_BYTES, Series, series};

/// The metrics of the file that are shown as ages: the name, and the word before its label.
///
/// `edgesentry-ops` writes them; a test there compares the names.
pub const AGES: [(&str, &str); 5] = [
    ("edgesentry_backup_last_success_timestamp_seconds", "backup"),
    ("edgesentry_wal_archive_last_success_timestamp_seconds", "write-ahead log in the archive"),
    ("edgesentry_heads_last_success_timestamp_seconds", "trusted heads"),
    ("edgesentry_drill_last_success_timestamp_seconds", "drill passed"),
    ("edgesentry_drill_partial_last_success_timestamp_seconds", "short drill passed"),
];
/// The metrics of the file that are 0 if all is well.
pub const FAILURES: [(&str, &str); 4] = [
    ("edgesentry_archive_gaps", "failed checks of the archive"),
    ("edgesentry_backup_verify_failed", "backup not proven:"),
    ("edgesentry_heads_rewritten_devices", "chains that do not extend the trusted heads"),
    ("edgesentry_unit_failed", "unit failed:"),
];

/// The content of a metrics file.
#[derive(Clone, Debug)]
pub(super) struct Operations {
    /// Operations and the time of their last success, Unix milliseconds.
    pub(super) ages: Vec<(String, u64)>,
    /// Failures, with their numbers.
    pub(super) failures: Vec<(String, u64)>,
}

/// Reads a metrics file.
///
/// # Errors
/// A sentence: the file cannot be read, or is too large.
pub(super) async fn read(path: PathBuf) -> Result<Operations, String> {
    let text = text(path).await?;
    let all = series(&text);
    let of = |families: &[(&'static str, &'static str)]| -> Vec<(String, Series)> {
        let named = families.iter().flat_map(|(family, word)| {
            let of_family = all.iter().filter(move |series| series.name == *family);
            of_family
                .map(move |series| (format!("{word} {}", series.label).trim_end().to_owned(), series.clone()))
        });
        named.collect()
    };
    let ages = of(&AGES).into_iter().map(|(name, series)| (name, (series.value.max(0.0) * 1000.0) as u64));
    let failures = of(&FAILURES).into_iter().filter(|(_, series)| series.value > 0.0);
    Ok(Operations {
        ages: ages.collect(),
        failures: failures.map(|(name, series)| (name, series.value as u64)).collect(),
    })
}

async fn text(path: PathBuf) -> Result<String, String> {
    let read = move || {
        let bytes = read_file(&path, MAX_BYTES)?;
        String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    };
    let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::from).and_then(|read| read);
    read.map_err(|error| {
        format!(
            "The metrics file of backups and drills cannot be read: {}. See serve.console.operations.",
            describe(&error)
        )
    })
}
