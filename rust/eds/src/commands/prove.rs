//! `eds prove`: proofs from the transparency log of a ledger.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use edgesentry_formats::Destinations;
use edgesentry_log::Checkpoint;
use edgesentry_rs::log::{LogReader, ProveError, Published};
use edgesentry_rs::settings::Access;
use serde_json::json;

use crate::commands::{Sequences, checkpoint, device_id, sequences, verify_proof};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output, write};
use crate::outputs;
use crate::stores::LedgerArgs;
use crate::text::{name, number};

/// Prove inclusion of records or a head, absence of a device, or consistency with an earlier checkpoint
///
/// The proof is of the published checkpoint, or of an earlier one with --size, and contains it. It is made from the tiles of the log, so it needs no key;
/// the ledger gives positions and heads. eds verify-proof verifies it offline.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds prove record lift-01 4711 -o record.proof
  eds prove record lift-01 4711-4720 -o run.proof   ten records in one proof
  eds prove head lift-01 -o head.proof              absence, if the log does not know the device
  eds prove consistency checkpoint-of-may -o grown.proof
  eds prove head lift-01 --size 90210               at an earlier checkpoint
  eds prove record lift-01 4711 | eds verify-proof - --policy policy.txt")]
pub(crate) struct Prove {
    #[command(subcommand)]
    statement: Statement,
}

/// The statement to prove.
#[derive(Subcommand, Debug)]
enum Statement {
    /// Prove that the log has a record, or each record of a run
    Record {
        /// The device
        #[arg(value_name = "DEVICE", value_parser = device_id)]
        device: String,
        /// The sequence of the record, or the first and the last one, such as 4711-4720
        #[arg(value_name = "SEQUENCE", value_parser = sequences)]
        sequence: Sequences,
        #[command(flatten)]
        running: Running,
    },
    /// Prove the last record of a device in the log, or that the log does not know the device
    Head {
        /// The device
        #[arg(value_name = "DEVICE", value_parser = device_id)]
        device: String,
        #[command(flatten)]
        running: Running,
    },
    /// Prove that the log has only grown since an older checkpoint
    Consistency {
        /// The older checkpoint
        #[arg(value_name = "CHECKPOINT")]
        previous: PathBuf,
        #[command(flatten)]
        running: Running,
    },
}

/// The log, and the destination of the proof.
#[derive(Args, Debug)]
struct Running {
    /// Prove it at the earlier checkpoint of this size [default: the published one]
    #[arg(long, value_name = "N")]
    size: Option<u64>,
    /// File to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// The content of a proof file, and what it is about.
struct Proof {
    kind: &'static str,
    text: String,
    about: String,
}

impl Prove {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let (Statement::Record { running, .. }
        | Statement::Head { running, .. }
        | Statement::Consistency { running, .. }) = &self.statement;
        let older = match &self.statement {
            Statement::Consistency { previous, .. } => Some(verify_proof::checkpoint(previous)?.1),
            _ => None,
        };
        let opened = running.ledger.open(Access::Read)?;
        let mut destinations = Destinations::default();
        running.ledger.read(&opened, &mut destinations);
        if let Statement::Consistency { previous, .. } = &self.statement {
            destinations.read("the older checkpoint", previous);
        }
        let destination =
            running.output.as_ref().map(|path| destinations.place("--output", path)).transpose()?;

        let settings = &opened.settings;
        let file = settings.ledger_file();
        let log = opened.wait(settings.log.open_reader(&*opened.ledger, file.as_deref(), &settings.s3))?;
        let (published, proof) = opened
            .runtime
            .block_on(async {
                let published = log.published_at(running.size).await?;
                let proof = self.prove(&log, &published, older.as_ref()).await?;
                Ok((published, proof))
            })
            .map_err(|error| failure(&error))?;

        if let (Some(path), Some(destination)) = (&running.output, &destination) {
            outputs::save(destination, path, &proof.text)?;
        } else if !output.json {
            write(&proof.text)?;
            return Ok(Exit::Holds);
        }
        let Published { checkpoint, .. } = published;
        let path = running.output.as_ref().map(|path| path.display().to_string());
        let content = json!({
            "kind": proof.kind,
            "origin": checkpoint.origin(),
            "size": checkpoint.size(),
            "root": checkpoint.root().to_string(),
            "file": path,
            "proof": proof.text,
        });
        let text = format!(
            "{}: proof of {}, {} at size {}\n",
            name(path.as_deref().unwrap_or_default()),
            proof.about,
            name(checkpoint.origin()),
            number(checkpoint.size())
        );
        output.answer(&Answer { ok: true, name: "proof", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }

    async fn prove(
        &self,
        log: &LogReader,
        published: &Published,
        older: Option<&Checkpoint>,
    ) -> Result<Proof, ProveError> {
        Ok(match (&self.statement, older) {
            (Statement::Record { device, sequence: Sequences { first, last: None }, .. }, _) => Proof {
                kind: "record",
                text: log.prove_record(published, device, *first).await?.to_string(),
                about: format!("the record of device {} with sequence {first}", name(device)),
            },
            (Statement::Record { device, sequence: Sequences { first, last: Some(last) }, .. }, _) => Proof {
                kind: "run",
                text: log.prove_run(published, device, *first, *last).await?.to_string(),
                about: format!("the records of device {} with sequences {first} to {last}", name(device)),
            },
            (Statement::Head { device, .. }, _) => {
                let proof = log.prove_head(published, device).await?;
                let (kind, about) =
                    if proof.is_of_presence() { ("head", "head") } else { ("absence", "absence") };
                let about = format!("the {about} of device {}", name(device));
                Proof { kind, text: proof.to_string(), about }
            }
            (Statement::Consistency { .. }, older) => {
                let older =
                    older.ok_or_else(|| ProveError::NoCheckpoint { place: log.place().to_owned() })?;
                let text = log.prove_consistency(published, older).await?.to_string();
                let about = format!("growth since size {}", number(older.size()));
                Proof { kind: "consistency", text, about }
            }
        })
    }
}

pub(super) fn failure(error: &ProveError) -> Failure {
    let exit = match error {
        ProveError::Log(error) => return checkpoint::failure(error),
        ProveError::OtherLog { .. } | ProveError::UnknownSize { .. } | ProveError::Run { .. } => Exit::Usage,
        ProveError::Newer { .. } | ProveError::Diverged { .. } => Exit::Findings,
        _ => Exit::Unfinished,
    };
    Failure { code: error.code(), message: error.to_string(), exit }
}
