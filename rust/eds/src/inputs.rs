//! The inputs of commands: exports, key rings, heads, single records.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::{AuditRecord, Checks, Heads, KeyRing, Order, PublicKey, Report, RingKey, Scheme};
use edgesentry_formats::{
    ColumnNames, LogCheck, Malformed, MaxAge, Options, PayloadFolder, Progress, Source, describe, files_of,
    path_of_url, read_start, times,
};
use edgesentry_rs::lake;
use edgesentry_rs::settings::Overrides;

use crate::exit::Failure;
use crate::progress::{self, When};
use crate::stores;
use crate::threads;

/// The name of stdin on the command line.
const STDIN: &str = "-";

/// How a verification runs.
#[derive(Args, Debug)]
pub(crate) struct Running {
    #[command(flatten)]
    showing: Showing,
    /// Threads to verify with [default: RAYON_NUM_THREADS, else OMP_NUM_THREADS, else one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Findings to keep in the report; all are counted
    #[arg(long, value_name = "N", default_value_t = Options::default().max_findings)]
    max_findings: usize,
}

/// Whether progress is shown.
#[derive(Args, Debug)]
pub(crate) struct Showing {
    /// Show progress on stderr: auto (if it is a terminal), always, never
    #[arg(long, value_name = "WHEN", default_value = "auto", default_missing_value = "always")]
    #[arg(num_args = 0..=1, require_equals = true, hide_possible_values = true)]
    progress: When,
}

impl Showing {
    /// Runs `work` and shows its progress.
    pub(crate) fn show<T>(&self, work: impl FnOnce(&Arc<Progress>) -> T) -> T {
        progress::show(self.progress, work)
    }
}

impl Running {
    /// Verifies the sources.
    pub(crate) fn verify(&self, sources: Vec<Source>, checks: &Checks<'_>) -> Result<Report, Failure> {
        self.verify_with_log(Order::Position, sources, checks, None)
    }

    /// Verifies the sources, and compares them with the checkpoint of a log.
    pub(crate) fn verify_with_log(
        &self,
        order: Order,
        sources: Vec<Source>,
        checks: &Checks<'_>,
        log: Option<&LogCheck<'_>>,
    ) -> Result<Report, Failure> {
        let verify = |options: &Options, progress: &Arc<Progress>| {
            let options = Options { order, ..*options };
            edgesentry_formats::verify_with_log(sources, checks, log, &options, progress)
        };
        Ok(self.run(verify)??)
    }

    /// Runs a verification on the requested number of threads, and shows its progress.
    pub(crate) fn run<T: Send>(
        &self,
        work: impl FnOnce(&Options, &Arc<Progress>) -> T + Send,
    ) -> Result<T, Failure> {
        let pool = threads::pool(self.threads.map(usize::from))?;
        let options = Options { max_findings: self.max_findings, ..Options::default() };
        Ok(self.showing.show(|progress| pool.install(|| work(&options, progress))))
    }
}

/// The columns of tables whose names are not those of the fields.
#[derive(Args, Debug)]
pub(crate) struct Columns {
    /// Column that holds FIELD, if its name differs; may be repeated
    #[arg(long = "column", value_name = "FIELD=COLUMN")]
    columns: Vec<String>,
    /// Column that is not a field of a record and is left out, because no hash covers it; may be repeated
    #[arg(long = "ignore", value_name = "COLUMN")]
    ignored: Vec<String>,
}

impl Columns {
    /// Returns the names of the columns.
    pub(crate) fn names(&self) -> Result<Arc<ColumnNames>, Failure> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            let message = || format!("--column: expected FIELD=COLUMN, got {column:?}");
            columns.push(column.split_once('=').ok_or_else(|| Failure::usage("usage", message()))?);
        }
        let names = ColumnNames::new(columns, self.ignored.iter().map(String::as_str));
        names.map(Arc::new).map_err(|error| Failure::usage("usage", error.to_string()))
    }
}

/// Returns the inputs named on the command line: files, all files in directories, objects in S3, and `-` for stdin.
pub(crate) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    refuse_second_stdin(paths)?;
    let mut sources = Vec::with_capacity(paths.len());
    for path in paths {
        sources.extend(sources_of(path)?);
    }
    Ok(sources)
}

fn sources_of(path: &Path) -> Result<Vec<Source>, Failure> {
    if is_stdin(path) {
        return Ok(vec![source(path)]);
    }
    let name = path.to_str().unwrap_or_default();
    if lake::path_of_url(name).is_some() {
        let settings = stores::load(None, &Overrides::default())?;
        return Ok(lake::sources(name, &settings.s3)?);
    }
    let path = path_of_url(name).transpose()?.unwrap_or_else(|| path.to_owned());
    Ok(files_of(&path)?.into_iter().map(Source::Path).collect())
}

/// Refuses stdin as more than one input.
pub(crate) fn refuse_second_stdin<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<(), Failure> {
    if paths.into_iter().filter(|path| is_stdin(path)).count() > 1 {
        return Err(Failure::usage("usage", "stdin (-) can be read only once; pass it once"));
    }
    Ok(())
}

/// Returns one input.
pub(crate) fn source(path: &Path) -> Source {
    if is_stdin(path) {
        Source::Reader { name: Arc::from("<stdin>"), reader: Box::new(std::io::stdin()) }
    } else {
        Source::Path(path.to_owned())
    }
}

/// Returns true if a name on the command line means stdin.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == STDIN
}

/// Reads a key ring file; `scheme` applies to its bare keys.
pub(crate) fn key_ring(path: &Path, scheme: Option<Scheme>) -> Result<KeyRing, Failure> {
    let json = bytes(path, "keys_unreadable")?;
    edgesentry_formats::read_key_ring(&json, scheme.unwrap_or(Scheme::OF_FILES))
        .map_err(|error| Failure::usage("keys", format!("{}: {}", path.display(), describe(&error))))
}

/// Returns a key ring with one bare key.
pub(crate) fn single_key(device_id: &str, key: PublicKey, scheme: Scheme) -> Result<KeyRing, Failure> {
    let mut ring = KeyRing::new();
    let key = RingKey { key, scheme, valid_from: 1 };
    ring.insert(device_id, key).map_err(|error| Failure::usage("keys", describe(&error)))?;
    Ok(ring)
}

/// Reads a heads snapshot.
pub(crate) fn heads(path: &Path) -> Result<Heads, Failure> {
    let json = bytes(path, "heads_unreadable")?;
    edgesentry_formats::read_heads(&json)
        .map_err(|error| Failure::usage("heads", format!("{}: {}", path.display(), describe(&error))))
}

/// Returns the limit of --max-age at the current time.
pub(crate) fn max_age(seconds: u64) -> Result<MaxAge, Failure> {
    match times::clock_ms() {
        Some(now) => Ok(MaxAge { seconds, now: now / 1000 }),
        None => {
            let message = "--max-age needs the time, and the system clock is before 1970; set it";
            Err(Failure::usage("clock", message))
        }
    }
}

/// Returns true if a name has the form of a payload store.
pub(crate) fn is_payload_store(path: &Path) -> bool {
    let name = path.to_str().unwrap_or_default();
    name == "ledger" || ["folder:", "packs:", "s3://"].iter().any(|kind| name.starts_with(kind))
}

/// Reads a public key of the command line.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, Failure> {
    edgesentry_formats::public_key(text).map_err(|error| {
        let message = match Path::new(text).is_file() {
            true => format!(
                "--public-key: {text} is a file; pass the key in it, which eds inspect-key {text} shows"
            ),
            false => format!("--public-key: {}", describe(&error)),
        };
        Failure::usage("key", message)
    })
}

/// Opens a directory of payloads.
pub(crate) fn payloads(path: &Path) -> Result<PayloadFolder, Failure> {
    let message = |error| match is_payload_store(path) {
        true => {
            let store = path.display();
            format!("{store}: --payloads is a directory; a payload store is --payload-store")
        }
        false => describe(&error),
    };
    PayloadFolder::open(path).map_err(|error| Failure::usage("payloads_unreadable", message(error)))
}

/// Reads a whole file of at most 512 MiB.
pub(crate) fn bytes(path: &Path, code: &'static str) -> Result<Vec<u8>, Failure> {
    edgesentry_formats::read_file(path, edgesentry_formats::MAX_FILE_BYTES)
        .map_err(|error| Failure::usage(code, format!("{}: cannot read: {error}", path.display())))
}

/// Reads a file, or stdin, up to one byte behind a limit, which the parser then refuses.
pub(crate) fn start(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let limit = limit as u64 + 1;
    let read = match is_stdin(path) {
        true => read_start(std::io::stdin().lock(), limit),
        false => std::fs::File::open(path).and_then(|file| read_start(file, limit)),
    };
    read.map_err(|error| {
        Failure::usage("file_unreadable", format!("{}: cannot read: {error}", path.display()))
    })
}

/// Reads the only entry of a file.
pub(crate) fn single_record(path: &Path) -> Result<Result<AuditRecord, Malformed>, Failure> {
    let mut entries = edgesentry_formats::records(source(path))?;
    let Some(entry) = entries.next() else {
        let message = format!("{}: holds no record", path.display());
        return Err(Failure::unfinished("nothing_to_verify", message));
    };
    if entries.next().is_some() {
        let message =
            format!("{}: holds more than one record; use eds verify-chain for a chain", path.display());
        return Err(Failure::usage("several_records", message));
    }
    Ok(entry?)
}

/// Reads the last record of one device in a file.
pub(crate) fn last_record(path: &Path, device_id: &str) -> Result<Option<AuditRecord>, Failure> {
    let mut last = None;
    for entry in edgesentry_formats::records(source(path))? {
        match entry? {
            Ok(record) if record.device_id == device_id => last = Some(record),
            Ok(_) => {}
            Err(Malformed { expected, actual }) => {
                let path = path.display();
                let message =
                    format!("{path}: an entry is not a record: expected {expected}, found {actual}");
                return Err(Failure::unfinished("record_malformed", message));
            }
        }
    }
    Ok(last)
}
