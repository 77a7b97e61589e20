//! `eds prove`: proofs from the transparency log of a ledger.

mod remote;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use edgesentry_formats::Destinations;
use edgesentry_log::{Checkpoint, HeadsProof, StatementKind};
use edgesentry_rs::log::{LogReader, ProveError, Published};
use edgesentry_rs::settings::Access;
use serde_json::json;

use crate::commands::{Sequences, checkpoint, device_id, sequences, verify_proof};
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output, write};
use crate::outputs;
use crate::remote::RemoteArgs;
use crate::stores::{LedgerArgs, Opened};
use crate::text::{name, number};

/// Prove inclusion of records or a head, absence of a device, or consistency with an earlier checkpoint
///
/// The proof refers to the published checkpoint, or to an earlier one with --size, and contains it. It is made from the
/// tiles of the log, so it needs no key; the ledger gives positions and heads. With --url, a service makes the proof;
/// the token needs the scope read. eds verify-proof verifies the proof offline.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds prove record lift-01 4711 -o record.proof
  eds prove record lift-01 4711-4720 -o run.proof   ten records in one proof
  eds prove head lift-01 -o head.proof              absence, if the log does not know the device
  eds prove consistency checkpoint-of-may -o grown.proof
  eds prove head lift-01 --size 90210               at an earlier checkpoint
  eds prove record lift-01 4711 | eds verify-proof - --policy policy.txt
  EDS_TOKEN=eds_... eds prove record lift-01 4711 --url https://audit.example -o record.proof")]
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
    #[command(flatten)]
    remote: RemoteArgs,
}

/// The content of a proof file.
struct Proof {
    kind: StatementKind,
    text: String,
    checkpoint: Checkpoint,
}

impl Prove {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let running = self.statement.running();
        let older = match &self.statement {
            Statement::Consistency { previous, .. } => Some(verify_proof::checkpoint(previous)?.1),
            _ => None,
        };
        let mut destinations = Destinations::default();
        if let Statement::Consistency { previous, .. } = &self.statement {
            destinations.read("the older checkpoint", previous);
        }
        let place = |destinations: &mut Destinations| {
            running.output.as_ref().map(|path| destinations.place("--output", path)).transpose()
        };
        let (destination, proof) = match running.remote.service()? {
            Some(service) => {
                running.remote.read_files(&mut destinations);
                (place(&mut destinations)?, remote::prove(&self.statement, &service, older.as_ref())?)
            }
            None => {
                let opened = running.ledger.open(Access::Read)?;
                running.ledger.read(&opened, &mut destinations);
                (place(&mut destinations)?, self.of_ledger(&opened, older.as_ref())?)
            }
        };

        if let (Some(path), Some(destination)) = (&running.output, &destination) {
            outputs::save(destination, path, &proof.text)?;
        } else if !output.json {
            write(&proof.text)?;
            return Ok(Exit::Holds);
        }
        let Proof { kind, text: proof, checkpoint } = proof;
        let path = running.output.as_ref().map(|path| path.display().to_string());
        let content = json!({
            "kind": kind.name(),
            "origin": checkpoint.origin(),
            "size": checkpoint.size(),
            "root": checkpoint.root().to_string(),
            "file": path,
            "proof": proof,
        });
        let text = format!(
            "{}: proof of {}, {} at size {}\n",
            name(path.as_deref().unwrap_or_default()),
            self.statement.about(kind, older.as_ref()),
            name(checkpoint.origin()),
            number(checkpoint.size())
        );
        output.answer(&Answer { ok: true, name: "proof", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }

    fn of_ledger(&self, opened: &Opened, older: Option<&Checkpoint>) -> Result<Proof, Failure> {
        let settings = &opened.settings;
        let file = settings.ledger_file();
        let log = opened.wait(settings.log.open_reader(&*opened.ledger, file.as_deref(), &settings.s3))?;
        let work = async {
            let published = log.published_at(self.statement.running().size).await?;
            let (kind, text) = self.prove(&log, &published, older).await?;
            Ok(Proof { kind, text, checkpoint: published.checkpoint })
        };
        opened.runtime.block_on(work).map_err(|error| failure(&error))
    }

    async fn prove(
        &self,
        log: &LogReader,
        published: &Published,
        older: Option<&Checkpoint>,
    ) -> Result<(StatementKind, String), ProveError> {
        Ok(match (&self.statement, older) {
            (Statement::Record { device, sequence: Sequences { first, last: None }, .. }, _) => {
                (StatementKind::Record, log.prove_record(published, device, *first).await?.to_string())
            }
            (Statement::Record { device, sequence: Sequences { first, last: Some(last) }, .. }, _) => {
                (StatementKind::Run, log.prove_run(published, device, *first, *last).await?.to_string())
            }
            (Statement::Head { device, .. }, _) => {
                let proof = log.prove_head(published, device).await?;
                (kind_of_heads(&proof), proof.to_string())
            }
            (Statement::Consistency { .. }, older) => {
                let older =
                    older.ok_or_else(|| ProveError::NoCheckpoint { place: log.place().to_owned() })?;
                (StatementKind::Consistency, log.prove_consistency(published, older).await?.to_string())
            }
        })
    }
}

impl Statement {
    fn running(&self) -> &Running {
        match self {
            Statement::Record { running, .. }
            | Statement::Head { running, .. }
            | Statement::Consistency { running, .. } => running,
        }
    }

    /// Returns the subject of a proof of this kind.
    fn about(&self, kind: StatementKind, older: Option<&Checkpoint>) -> String {
        match self {
            Statement::Record { device, sequence: Sequences { first, last: None }, .. } => {
                format!("the record of device {} with sequence {first}", name(device))
            }
            Statement::Record { device, sequence: Sequences { first, last: Some(last) }, .. } => {
                format!("the records of device {} with sequences {first} to {last}", name(device))
            }
            Statement::Head { device, .. } => format!("the {} of device {}", kind.name(), name(device)),
            Statement::Consistency { .. } => {
                format!("growth since size {}", number(older.map_or(0, Checkpoint::size)))
            }
        }
    }
}

fn kind_of_heads(proof: &HeadsProof) -> StatementKind {
    if proof.is_of_presence() { StatementKind::Head } else { StatementKind::Absence }
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
