//! `eds export`: records of a ledger into a file, with a manifest beside it.

mod stdout;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use edgesentry_formats::times::parse_unix_ms;
use edgesentry_formats::{Compression, Destination, Destinations, Format, Progress, RecordWriter, by_name};
use edgesentry_rs::export::{LogBeside, Manifest, Target, export, export_logged};
use edgesentry_rs::ledger::Filter;
use edgesentry_rs::log::Logged;
use edgesentry_rs::settings::Access;
use serde_json::json;

use self::stdout::Stdout;
use crate::commands::{known_devices, prove};
use crate::exit::{Exit, Failure};
use crate::inputs::Showing;
use crate::interrupt;
use crate::output::{Answer, Output};
use crate::remote::RemoteArgs;
use crate::stores::{LedgerArgs, Opened};
use crate::text::{count, name, shell_word};

/// Export records of a ledger as JSON, NDJSON, Arrow IPC or Parquet, with a manifest next to the file
///
/// The manifest FILE.manifest.json describes the filter and the content of the file: counts, heads, start
/// heads, size and BLAKE3. eds verify-chain --manifest checks the file against it. A file of the same name is
/// replaced after the new one is complete, and otherwise stays unchanged.
///
/// With --url the records are those of a service, read page by page and written here: its token needs the scope read.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds export -o export.parquet
  eds export -o lift.ndjson.zst --device lift-01 --device lift-02 --since 2026-01-01T00:00:00Z
  eds export --format ndjson --ledger postgres://db/audit | eds verify-chain -
  eds export -o export.parquet --log
  EDS_TOKEN=eds_... eds export -o export.parquet --url https://audit.example
  eds export -o range.json --from-sequence 1000 --to-sequence 1999
  eds verify-chain range.json --manifest range.json.manifest.json --keys keys.json")]
pub(crate) struct Export {
    /// File to write; its name determines the format: .json, .ndjson (also .gz, .zst), .arrow, .parquet
    #[arg(short, long, value_name = "FILE", required_unless_present = "format")]
    output: Option<PathBuf>,
    /// Write to stdout, or another stream that --output names, in this format and without a manifest
    #[arg(long, value_name = "FORMAT")]
    format: Option<Layout>,
    /// Write numbers in Arrow and Parquet as int64, for engines without unsigned types, such as Spark, Delta and Iceberg
    #[arg(long)]
    int64: bool,
    /// Only this device; may be repeated
    #[arg(long = "device", value_name = "ID")]
    devices: Vec<String>,
    /// The lowest sequence
    #[arg(long, value_name = "N")]
    from_sequence: Option<u64>,
    /// The highest sequence
    #[arg(long, value_name = "N")]
    to_sequence: Option<u64>,
    /// Only records from this time on: RFC 3339 or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = parse_unix_ms)]
    since: Option<u64>,
    /// Only records before this time: RFC 3339 or Unix milliseconds
    #[arg(long, value_name = "TIME", value_parser = parse_unix_ms)]
    before: Option<u64>,
    /// Only the records up to the last checkpoint of the transparency log, with the layout of the log in FILE.log and
    /// the checkpoint in FILE.checkpoint: for eds verify-chain --checkpoint
    #[arg(long, requires = "output", conflicts_with_all = ["format", "devices", "from_sequence", "to_sequence", "since", "before", "RemoteArgs"])]
    log: bool,
    /// With --log, the records up to the last checkpoint with a time stamp
    #[arg(long, requires = "log")]
    stamped: bool,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    showing: Showing,
}

/// What goes to stdout.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Layout {
    Json,
    Ndjson,
    Arrow,
    Parquet,
}

impl Layout {
    fn format(self) -> Format {
        match self {
            Layout::Json => Format::Json,
            Layout::Ndjson => Format::Ndjson,
            Layout::Arrow => Format::Arrow,
            Layout::Parquet => Format::Parquet,
        }
    }
}

/// Rejects --json beside records on stdout: the output cannot contain both.
fn refuse_json_beside(output: &Output) -> Result<(), Failure> {
    if !output.json {
        return Ok(());
    }
    let message =
        "--json writes its result to stdout, where --format writes the records; pass a file with --output";
    Err(Failure::usage("usage", message))
}

impl Export {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        self.refuse_contradictions(output)?;
        let opened = self.remote.open(&self.ledger, Access::Read)?;
        known_devices(&opened, &self.devices)?;
        let Some(path) = &self.output else {
            return match self.format {
                Some(layout) => self.to_stdout(&opened, layout, output),
                None => Err(Failure::usage("usage", "pass --output or --format")),
            };
        };
        let mut destinations = Destinations::default();
        self.remote.read(&self.ledger, &opened, &mut destinations);
        let destination = destinations.place("--output", path)?;
        if destination.is_stdout() {
            let Some(layout) = self.format else {
                return Err(Failure::usage(
                    "usage",
                    "stdout has no file name that determines the format; add --format",
                ));
            };
            refuse_json_beside(output)?;
            self.to_stdout(&opened, layout, output)
        } else if self.log && destination.file().is_none() {
            let message = "--log writes files beside the export, so --output must be a file";
            Err(Failure::usage("usage", message))
        } else if destination.file().is_none() {
            self.to_stream(&opened, path, &destination, output)
        } else if by_name(path).is_none() {
            let message = format!(
                "--output {}: its name has no known format; end it in .json, .ndjson, .arrow or .parquet, the first two \
                 also with .gz or .zst on top",
                path.display()
            );
            Err(Failure::usage("usage", message))
        } else if self.format.is_some() {
            let message =
                "--format is for stdout and other streams; the name of a file determines its format";
            Err(Failure::usage("usage", message))
        } else {
            if !self.log {
                refuse_older_log(path)?;
            }
            let manifest = destinations.place("the manifest next to --output", &Manifest::path_for(path))?;
            let log = self.log.then(|| self.log_beside(&opened, path, &mut destinations)).transpose()?;
            let target = Target::Placed { path: path.clone(), destination, manifest };
            self.to_file(&opened, target, path, log, output)
        }
    }

    /// Reads the log of the ledger, and chooses the destinations of its files.
    fn log_beside(
        &self,
        opened: &Opened,
        export: &Path,
        destinations: &mut Destinations,
    ) -> Result<LogBeside, Failure> {
        let logged = match self.stamped {
            true => opened.runtime.block_on(Logged::read_stamped(&*opened.ledger)),
            false => opened.runtime.block_on(Logged::read(&*opened.ledger)).map_err(Into::into),
        };
        let logged = logged.map_err(|error| prove::failure(&error))?;
        Ok(LogBeside::place(logged, export, destinations)?)
    }

    fn refuse_contradictions(&self, output: &Output) -> Result<(), Failure> {
        let refuse = |message: &str| Err(Failure::usage("usage", message));
        if self.output.is_none() {
            refuse_json_beside(output)?;
        }
        if self.from_sequence.zip(self.to_sequence).is_some_and(|(from, to)| from > to) {
            return refuse("--from-sequence is above --to-sequence, so no record can match");
        }
        if self.since.zip(self.before).is_some_and(|(since, before)| since >= before) {
            return refuse("--since is not earlier than --before, so no record can match");
        }
        Ok(())
    }

    fn filter(&self) -> Filter {
        Filter {
            devices: self.devices.clone(),
            from_sequence: self.from_sequence,
            to_sequence: self.to_sequence,
            from_ms: self.since,
            before_ms: self.before,
        }
    }

    fn to_file(
        &self,
        opened: &Opened,
        target: Target,
        path: &Path,
        log: Option<LogBeside>,
        output: &Output,
    ) -> Result<Exit, Failure> {
        let logged = log.as_ref().map(LogBeside::logged);
        let manifest =
            self.showing.show(|progress| self.export(opened, target, logged, progress, || true))?;
        if let Some(log) = &log {
            log.write()?;
        }
        let manifest_path = Manifest::path_for(path);
        let content = json!({
            "file": path.display().to_string(),
            "manifest_file": manifest_path.display().to_string(),
            "manifest": manifest,
            "log_layout_file": log.as_ref().map(|log| log.layout().display().to_string()),
            "checkpoint_file": log.as_ref().map(|log| log.checkpoint().display().to_string()),
            "timestamp_files": log.as_ref().map(timestamp_files),
        });
        if manifest.records == 0 {
            output.note("note: no record of the ledger matches");
        }
        let mut text = summary(path, &manifest_path, &manifest);
        if let Some(log) = &log {
            text.push_str(&summary_of_log(log));
        }
        output.answer(&Answer { ok: true, name: "export", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }

    /// Exports to a FIFO or a device, without a manifest, as nothing is stored there.
    fn to_stream(
        &self,
        opened: &Opened,
        path: &Path,
        destination: &Destination,
        output: &Output,
    ) -> Result<Exit, Failure> {
        let writer = match self.format {
            Some(layout) => {
                RecordWriter::to_destination(destination, path, layout.format(), Compression::None)?
            }
            None => RecordWriter::create_at(destination, path)?,
        };
        let target = Target::Writer(Box::new(writer));
        let manifest = self.showing.show(|progress| self.export(opened, target, None, progress, || true))?;
        let (records, devices) = (count(manifest.records, "record"), count(manifest.devices, "device"));
        let shown_path = path.display().to_string();
        let text = format!("{}: {records} of {devices}\n", name(&shown_path));
        let content = json!({ "file": shown_path, "manifest_file": null, "manifest": manifest });
        output.answer(&Answer { ok: true, name: "export", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }

    fn to_stdout(&self, opened: &Opened, layout: Layout, output: &Output) -> Result<Exit, Failure> {
        let format = layout.format();
        let is_text = matches!(layout, Layout::Json | Layout::Ndjson);
        let (out, reader) = Stdout::open(is_text)?;
        let writer = RecordWriter::to_writer("<stdout>".into(), Box::new(out), format, Compression::None)?;
        let target = Target::Writer(Box::new(writer));
        let result =
            self.showing.show(|progress| self.export(opened, target, None, progress, || !reader.is_gone()));
        match result {
            // A reader that closes the pipe early is not an error.
            Err(_) if reader.is_gone() => Ok(Exit::Holds),
            Err(failure) => Err(failure),
            Ok(manifest) => {
                if manifest.records == 0 {
                    output.note("note: no record of the ledger matches");
                }
                Ok(Exit::Holds)
            }
        }
    }

    /// Exports until the end, an error, Ctrl-C, or until the reader closes the pipe.
    fn export(
        &self,
        opened: &Opened,
        target: Target,
        log: Option<&Logged>,
        progress: &Arc<Progress>,
        go_on: impl Fn() -> bool,
    ) -> Result<Manifest, Failure> {
        let filter = self.filter();
        let target = if self.int64 { Target::Int64(Box::new(target)) } else { target };
        let mut before = 0;
        let exported = |records: u64| {
            progress.add_records(records - before);
            before = records;
            go_on()
        };
        let work = async {
            match log {
                Some(log) => export_logged(&*opened.ledger, log, target, exported).await,
                None => export(&*opened.ledger, &filter, target, exported).await,
            }
        };
        match opened.runtime.block_on(interrupt::unless_asked(work)) {
            Some(result) => Ok(result?),
            None => {
                Err(Failure::interrupted("interrupted: the export is not complete, and no file was written"))
            }
        }
    }
}

/// Refuses to place an export beside the log of an earlier one, which would be taken for its own.
fn refuse_older_log(export: &Path) -> Result<(), Failure> {
    let Some(older) = LogBeside::earlier(export) else { return Ok(()) };
    let message = format!("{} is of an earlier export; add --log, or remove it first", older.display());
    Err(Failure::usage("usage", message))
}

fn timestamp_files(log: &LogBeside) -> Vec<String> {
    log.timestamps().map(|path| path.display().to_string()).collect()
}

fn summary_of_log(log: &LogBeside) -> String {
    let (layout, checkpoint) = (log.layout().display().to_string(), log.checkpoint().display().to_string());
    let size = count(log.logged().checkpoint.size, "leaf");
    let mut text = format!("  log       {}, {size} up to {}\n", name(&layout), name(&checkpoint));
    for stamp in timestamp_files(log) {
        text.push_str(&format!("  stamp     {}\n", name(&stamp)));
    }
    text
}

fn summary(path: &Path, manifest_path: &Path, manifest: &Manifest) -> String {
    let (path, manifest_path) = (path.display().to_string(), manifest_path.display().to_string());
    let (records, devices) = (count(manifest.records, "record"), count(manifest.devices, "device"));
    let mut text = format!("{}: {records} of {devices}\n", name(&path));
    if let Some(file) = &manifest.file {
        text.push_str(&format!("  size      {}, {}\n", count(file.size_bytes, "byte"), file.format));
        text.push_str(&format!("  blake3    {}\n", file.blake3));
    }
    text.push_str(&format!("  manifest  {}\n", name(&manifest_path)));
    let (path, manifest_path) = (shell_word(&path), shell_word(&manifest_path));
    text.push_str(&format!("  verify    eds verify-chain {path} --manifest {manifest_path} --keys KEYS\n"));
    text
}
