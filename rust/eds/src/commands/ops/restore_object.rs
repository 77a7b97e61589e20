//! `eds ops restore-object`: restores payloads from their versions, or from a copy of a directory.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use edgesentry_chain::AuditRecord;
use edgesentry_formats::{MAX_FILE_BYTES, PayloadFolder, read_file};
use edgesentry_ops::restore_object::{Restored, State, erased, from_backup, from_versions};
use edgesentry_rs::Filter;
use edgesentry_rs::ledger::{ErasureQuery, ErasureRow, ErasureSelection, LogTables};
use edgesentry_rs::payload::{Folder, S3};
use edgesentry_rs::settings::Access;
use futures::{StreamExt, TryStreamExt};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::interrupt;
use crate::output::{Answer, Output};
use crate::stores::{Opened, StoreArgs};
use crate::text::{count, name, sentence};

/// Restore payloads that were deleted or overwritten, byte-identical: in S3 from their versions, in a
/// directory from a copy of it
///
/// In S3 the command copies the version whose BLAKE3 is the payload hash of the record to the top. In a
/// directory it stores the payload from the copy. It deletes and overwrites nothing. Nothing is changed
/// without --apply. Exit code 0 if every payload is intact or restored, 1 if one is lost, 3 if one is still
/// to be restored. A payload whose erasure the ledger lists is not restored.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds ops restore-object lift-01 --ledger postgres://db/audit \\
      --payload-store s3://audit-payloads
  eds ops restore-object lift-01 --from 17 --to 17 --apply
  eds ops restore-object --all --apply
  eds ops restore-object --all --payload-store packs:/var/lib/eds/payloads --backup /mnt/payloads")]
pub(super) struct RestoreObject {
    /// The device
    #[arg(value_name = "DEVICE", required_unless_present_any = ["all", "devices"])]
    device: Option<String>,
    /// Payloads of every device in the ledger
    #[arg(long, conflicts_with_all = ["device", "devices"])]
    all: bool,
    /// File with the names of devices, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "device")]
    devices: Option<PathBuf>,
    /// The lowest sequence
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// The highest sequence
    #[arg(long, value_name = "SEQUENCE")]
    to: Option<u64>,
    /// A copy of the payload directory, with files, packs or both, if the payloads are in one
    #[arg(long, value_name = "DIR")]
    backup: Option<PathBuf>,
    /// Restore the payloads
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    stores: StoreArgs,
}

/// The payload store, and where lost payloads may be.
enum Source {
    /// In the versions of a bucket.
    Versions(Arc<S3>),
    /// In a copy of a directory.
    Backup { backup: Arc<PayloadFolder>, store: Folder },
}

impl Source {
    async fn restore(&self, record: &AuditRecord, apply: bool) -> Result<Restored, edgesentry_ops::Error> {
        match self {
            Source::Versions(store) => from_versions(store, record, apply).await,
            Source::Backup { backup, store } => from_backup(backup, store, record, apply).await,
        }
    }
}

/// Payloads that are checked concurrently.
const CONCURRENT_OBJECTS: usize = 8;

/// The results; of intact payloads only the number.
#[derive(Default)]
struct Tally {
    looked_at: u64,
    damaged: Vec<Restored>,
}

impl Tally {
    fn add(&mut self, restored: Restored) {
        self.looked_at += 1;
        if restored.state != State::Intact {
            self.damaged.push(restored);
        }
    }
}

impl RestoreObject {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let opened = self.stores.open(Access::Read)?;
        let devices = self.devices()?;
        super::super::known_devices(&opened, &devices)?;
        let source = self.source(&opened)?;
        let tables = opened.ledger.log();
        let filter = Filter { devices, from_sequence: self.from, to_sequence: self.to, ..Filter::default() };
        let work = async {
            let mut tally = Tally::default();
            let mut records = opened.ledger.records(&filter);
            while let Some(chunk) = records.try_next().await.map_err(Failure::from)? {
                let erasures = erasures_of(tables.as_deref(), &chunk).await?;
                let looks = chunk.into_iter().map(|record: AuditRecord| {
                    let (source, erasures) = (&source, &erasures);
                    async move {
                        match erasures.get(&(record.device_id.clone(), record.sequence)) {
                            Some(erasure) => Ok(erased(&record, erasure)),
                            None => source.restore(&record, self.apply).await.map_err(Failure::from),
                        }
                    }
                });
                let mut looks = futures::stream::iter(looks).buffered(CONCURRENT_OBJECTS);
                while let Some(restored) = looks.try_next().await? {
                    tally.add(restored);
                }
            }
            Ok::<_, Failure>(tally)
        };
        let answer = opened.runtime.block_on(interrupt::unless_asked(work));
        let interrupted = || Failure::interrupted("interrupted: payloads restored so far stay restored");
        let tally = answer.ok_or_else(interrupted)??;
        self.conclude(&tally, output)
    }

    /// Opens the payload store, and the copy of a directory.
    fn source(&self, opened: &Opened) -> Result<Source, Failure> {
        let bucket = opened.settings.payloads.as_deref().and_then(|url| url.strip_prefix("s3://"));
        match (bucket, &self.backup) {
            (Some(bucket), None) => {
                let store = S3::connect(bucket.trim_end_matches('/'), &opened.settings.s3);
                Ok(Source::Versions(Arc::new(opened.wait(store)?)))
            }
            (Some(_), Some(_)) => {
                Err(Failure::usage("config", "--backup: S3 keeps versions, from which payloads are restored"))
            }
            (None, backup) => {
                let access = if self.apply { Access::Existing } else { Access::Read };
                match (opened.settings.open_payload_folder(access)?, backup) {
                    (Some(store), Some(backup)) => {
                        Ok(Source::Backup { backup: Arc::new(inputs::payloads(backup)?), store })
                    }
                    (Some(_), None) => Err(Failure::usage(
                        "config",
                        "payloads: a directory keeps no versions; name a copy of it with --backup DIR",
                    )),
                    (None, _) => Err(Failure::usage(
                        "config",
                        "payloads: only S3 and directories restore single payloads; set folder:PATH, packs:PATH or \
                         s3://BUCKET",
                    )),
                }
            }
        }
    }

    /// Returns the named devices; an empty list means all.
    fn devices(&self) -> Result<Vec<String>, Failure> {
        let Some(file) = &self.devices else { return Ok(self.device.iter().cloned().collect()) };
        let text = read_file(file, MAX_FILE_BYTES)
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8")));
        let text = text.map_err(|error| {
            Failure::usage("devices", format!("{}: cannot be read: {error}", file.display()))
        })?;
        let names: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if names.is_empty() {
            return Err(Failure::usage("devices", format!("{}: it names no device", file.display())));
        }
        Ok(names)
    }

    fn conclude(&self, tally: &Tally, output: &Output) -> Result<Exit, Failure> {
        if tally.looked_at == 0 {
            let message = match &self.device {
                Some(device) => format!("device {device:?} has no record there, so nothing was examined"),
                None => "these devices have no record, so nothing was examined".to_owned(),
            };
            return Err(Failure::unfinished("nothing_to_restore", message));
        }
        let of = |state| tally.damaged.iter().filter(|restored| restored.state == state).count() as u64;
        let intact = tally.looked_at - tally.damaged.len() as u64;
        let mut text = String::new();
        for restored in &tally.damaged {
            let state = match restored.state {
                State::Intact => "intact",
                State::Restorable => "restorable",
                State::Restored => "restored",
                State::Lost => "lost",
                State::Erased => "erased",
            };
            text.push_str(&format!(
                "{state:<10}  {} {}  {}\n            {}\n",
                name(&restored.device_id),
                restored.sequence,
                name(&restored.object_ref),
                sentence(&restored.evidence)
            ));
        }
        text.push_str(&format!(
            "{}: {intact} intact, {} restorable, {} restored, {} lost",
            count(tally.looked_at, "payload"),
            of(State::Restorable),
            of(State::Restored),
            of(State::Lost)
        ));
        let of_erased = of(State::Erased);
        if of_erased > 0 {
            text.push_str(&format!(", {of_erased} erased"));
        }
        text.push('\n');
        let exit = match () {
            () if of(State::Lost) > 0 => Exit::Findings,
            () if of_erased == tally.looked_at => {
                let message = format!("{}: erased, and not restored", count(of_erased, "payload"));
                return Err(Failure::unfinished(
                    "payload_erased",
                    format!("{message}; {}", tally.damaged[0].evidence),
                ));
            }
            () if of(State::Restorable) > 0 => {
                text.push_str("nothing was changed; --apply restores\n");
                Exit::Unfinished
            }
            () => Exit::Holds,
        };
        let content = json!({"looked_at": tally.looked_at, "intact": intact, "damaged": tally.damaged});
        output.answer(&Answer {
            ok: exit == Exit::Holds,
            name: "payloads",
            content: &content,
            text,
            failure: None,
        })?;
        Ok(exit)
    }
}

/// Returns the erasures of records, which are in the order of the ledger, by device and sequence.
async fn erasures_of(
    tables: Option<&dyn LogTables>,
    records: &[AuditRecord],
) -> Result<BTreeMap<(String, u64), ErasureRow>, Failure> {
    let (Some(tables), Some(first), Some(last)) = (tables, records.first(), records.last()) else {
        return Ok(BTreeMap::new());
    };
    let last = (last.device_id.clone(), last.sequence);
    let after = Some((first.device_id.clone(), first.sequence.saturating_sub(1)));
    let mut query = ErasureQuery { after, of: ErasureSelection::Noted };
    let mut erasures = BTreeMap::new();
    loop {
        let page = tables.erasures(&query).await?;
        query.after = page.last().map(|row| (row.device_id.clone(), row.sequence));
        erasures.extend(page.into_iter().map(|row| ((row.device_id.clone(), row.sequence), row)));
        if query.after.as_ref().is_none_or(|end| *end >= last) {
            return Ok(erasures);
        }
    }
}
