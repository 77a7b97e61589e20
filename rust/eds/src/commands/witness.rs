//! `eds witness`: cosigns checkpoints of other logs.

#[cfg(feature = "serve")]
mod serve;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use edgesentry_formats::describe;
use edgesentry_formats::times::to_rfc3339;
use edgesentry_log::Checkpoint as Signed;
use edgesentry_log::{
    AddCheckpoint, ConsistencyProof, EvidenceKind, MAX_WITNESS_REQUEST_BYTES, Note, WitnessRefusal,
};
use edgesentry_rs::Settings;
use edgesentry_rs::ledger::{EvidenceRow, WitnessAccess, WitnessTables, WitnessedRow};
use edgesentry_rs::log::{WitnessError, WitnessSettings, bind_witness};
use edgesentry_rs::settings::Overrides;
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::telemetry::subscriber;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

#[cfg(not(feature = "serve"))]
use super::absent::network::serve;
use super::checkpoint::create_key;
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::output::{Answer, Output};
use crate::outputs;
use crate::remarks::log_filter;
use crate::stores::{ConfigFile, load};
use crate::text::{count, name, number};
use crate::threads;

/// Cosign checkpoints of other transparency logs, as their witness
///
/// A witness cosigns one history of each log: it remembers the last checkpoint, and cosigns a larger one only
/// with a proof that the log has only grown. The settings are in the section [witness]: state, key, name, logs.
/// A witness that loses its state must continue under another key and name.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds witness init --state sqlite:witness.db --key witness.seed --name witness.example
  eds witness serve --config /etc/eds/witness.toml
  eds witness cosign request.txt > cosignature.txt     for a witness without a network
  eds witness status
  eds witness evidence --export evidence/")]
pub(crate) struct Witness {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Subcommand, Debug)]
enum Action {
    /// Make the key and the state of a new witness, and show its verifier key for policies
    ///
    /// An existing key is kept. The command creates a state only together with a new key, because a witness that has lost
    /// its state must not continue to use its old key.
    Init {
        #[command(flatten)]
        witness: WitnessArgs,
    },
    /// Cosign checkpoints over HTTP until SIGTERM or Ctrl-C (C2SP tlog-witness)
    Serve(serve::Serve),
    /// Cosign the checkpoint of a request file, and print the signature line; the same request gives the same line again
    Cosign {
        /// The request, in the format of add-checkpoint; - is stdin
        #[arg(value_name = "REQUEST")]
        request: PathBuf,
        #[command(flatten)]
        witness: WitnessArgs,
    },
    /// Show the last cosigned checkpoint of each log
    Status {
        #[command(flatten)]
        witness: WitnessArgs,
    },
    /// Show notes that logs have signed and that contradict their cosigned checkpoints; exit code 1 if a log
    /// has two histories
    Evidence {
        /// Write the notes and requests as files into this directory
        #[arg(long, value_name = "DIRECTORY")]
        export: Option<PathBuf>,
        #[command(flatten)]
        witness: WitnessArgs,
    },
}

/// The state, the key and the logs of a witness.
#[derive(Args, Debug)]
pub(crate) struct WitnessArgs {
    /// State: sqlite:PATH, a path, or postgres://HOST/DATABASE [default: as configured]
    #[arg(long, value_name = "URL")]
    state: Option<String>,
    /// Seed file of the key that cosigns [default: as configured]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Name of the key [default: as configured]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Logs to cosign: a file with lines `log VKEY`, such as a policy [default: as configured]
    #[arg(long, value_name = "FILE")]
    logs: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

impl WitnessArgs {
    /// Loads the settings; the arguments override them.
    fn settings(&self) -> Result<Settings, Failure> {
        let settings = load(self.file.config.as_deref(), &Overrides::default())?;
        let WitnessSettings { state, key, name, logs } = settings.witness.clone();
        let witness = WitnessSettings {
            state: self.state.clone().map(Into::into).or(state),
            key: self.key.clone().or(key),
            name: self.name.clone().or(name),
            logs: self.logs.clone().or(logs),
        };
        Ok(Settings { witness, ..settings })
    }

    /// Loads the settings for a command that ends by itself, and starts a runtime.
    fn prepare(&self) -> Result<(Settings, Runtime), Failure> {
        let settings = self.settings()?;
        subscriber::init(&settings.telemetry, log_filter("off"))?;
        Ok((settings, threads::runtime()?))
    }

    /// Opens the state.
    fn open(&self, access: WitnessAccess) -> Result<(Settings, Runtime, Arc<dyn WitnessTables>), Failure> {
        let (settings, runtime) = self.prepare()?;
        let tables = runtime.block_on(settings.witness.open(access, &settings.postgres))?;
        Ok((settings, runtime, tables))
    }
}

impl Witness {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match &self.action {
            Action::Init { witness } => init(witness, output),
            Action::Serve(serve) => serve.run(output),
            Action::Cosign { request, witness } => cosign(witness, request, output),
            Action::Status { witness } => status(witness, output),
            Action::Evidence { export, witness } => evidence(witness, export.as_deref(), output),
        }
    }
}

fn init(args: &WitnessArgs, output: &Output) -> Result<Exit, Failure> {
    let (settings, runtime) = args.prepare()?;
    let witness = &settings.witness;
    let path = witness.key_file()?;
    witness.check_name()?;
    let is_new = !path.exists();
    // The state of an existing key must exist: a new one would forget what it has cosigned.
    let access = if is_new { WitnessAccess::Create } else { WitnessAccess::Existing };
    let tables = runtime.block_on(witness.open(access, &settings.postgres))?;
    // The key comes last, so that a run that fails can be repeated.
    if is_new {
        runtime.block_on(check_unused(&*tables, path))?;
        create_key(path)?;
        output.note(&format!(
            "{}: a new key of the witness, mode 0600; keep a copy in a safe place",
            path.display()
        ));
    }
    let key = witness.signer()?;
    runtime.block_on(bind_witness(&*tables, key.verifier()))?;
    let vkey = key.verifier().to_string();
    let content = json!({"verifier_key": vkey, "state": tables.place()});
    let text =
        format!("{}\n  key    {vkey}\n  state  {}\n", name(key.verifier().name()), name(tables.place()));
    answer(output, &content, text)
}

/// Checks that a state belongs to no key.
async fn check_unused(tables: &dyn WitnessTables, path: &Path) -> Result<(), Failure> {
    let bound = tables.bound().await.map_err(edgesentry_rs::Error::from)?;
    let logs = tables.all_witnessed().await.map_err(edgesentry_rs::Error::from)?;
    if bound.is_none() && logs.is_empty() {
        return Ok(());
    }
    let (path, place) = (path.display(), tables.place());
    let key = bound.map_or_else(String::new, |vkey| format!(" {vkey}"));
    let message = format!(
        "{path}: the key is missing, and the state {place} belongs to a key{key}; restore the key from its copy, or name \
         another state for a new witness"
    );
    Err(Failure::usage("config", message))
}

fn cosign(args: &WitnessArgs, path: &Path, output: &Output) -> Result<Exit, Failure> {
    let request = inputs::start(path, MAX_WITNESS_REQUEST_BYTES)?;
    let (settings, runtime) = args.prepare()?;
    let line = runtime.block_on(async {
        let witness = settings.witness.start(&settings.postgres, Metrics::global()).await?;
        witness.cosign(&request).await.map_err(|error| refused(&error))
    })?;
    let parsed =
        AddCheckpoint::parse(&request).map_err(|error| refused(&WitnessRefusal::from(error).into()))?;
    let content = json!({"origin": parsed.origin(), "size": parsed.size(), "cosignature": line.to_string()});
    answer(output, &content, format!("{line}\n"))
}

/// A refusal: a finding if it is about the log.
fn refused(error: &WitnessError) -> Failure {
    let exit = match error.status() {
        422 => Exit::Findings,
        400..=499 => Exit::Usage,
        _ => Exit::Unfinished,
    };
    let code = if exit == Exit::Unfinished { "witness_unavailable" } else { "witness_refused" };
    Failure { code, message: describe(error), exit }
}

fn status(args: &WitnessArgs, output: &Output) -> Result<Exit, Failure> {
    let (settings, runtime, tables) = args.open(WitnessAccess::Read)?;
    let rows = runtime.block_on(tables.all_witnessed()).map_err(edgesentry_rs::Error::from)?;
    // The key is not needed to show the state.
    let vkey = settings.witness.signer().ok().map(|key| key.verifier().to_string());
    let logs: Vec<Value> = rows.iter().map(row_content).collect();
    let content = json!({"verifier_key": vkey, "state": tables.place(), "logs": logs});
    let mut text = format!("{}: {}\n", name(tables.place()), count(rows.len() as u64, "log"));
    if let Some(vkey) = &vkey {
        text.push_str(&format!("  key  {vkey}\n"));
    }
    for WitnessedRow { origin, size, root, at, .. } in &rows {
        text.push_str(&format!(
            "{}\n  size         {}\n  root         {root}\n  cosigned at  {}\n",
            name(origin),
            number(*size),
            to_rfc3339(at.saturating_mul(1000))
        ));
    }
    answer(output, &content, text)
}

fn row_content(row: &WitnessedRow) -> Value {
    json!({
        "origin": row.origin,
        "size": row.size,
        "root": row.root.to_string(),
        "cosigned_at_ms": row.at.saturating_mul(1000),
        "checkpoint": String::from_utf8_lossy(&row.note),
    })
}

fn evidence(args: &WitnessArgs, export: Option<&Path>, output: &Output) -> Result<Exit, Failure> {
    let (_, runtime, tables) = args.open(WitnessAccess::Read)?;
    let rows = runtime.block_on(tables.evidence()).map_err(edgesentry_rs::Error::from)?;
    if let Some(directory) = export {
        std::fs::create_dir_all(directory).map_err(|error| outputs::cannot_write(directory, &error))?;
        for (index, row) in rows.iter().enumerate() {
            write_evidence(directory, index + 1, row)?;
        }
    }
    let two_roots = rows.iter().filter(|row| row.kind == EvidenceKind::TwoRoots).count();
    let pieces: Vec<Value> = rows.iter().map(evidence_content).collect();
    let content = json!({"evidence": pieces, "two_roots": two_roots});
    let mut text = format!("{}: {}\n", name(tables.place()), count(rows.len() as u64, "contradiction"));
    for (index, row) in rows.iter().enumerate() {
        text.push_str(&format!(
            "  {:>3}  {}  {:<9}  {}\n",
            index + 1,
            to_rfc3339(row.at.saturating_mul(1000)),
            row.kind.name(),
            name(&row.origin)
        ));
    }
    let failure = (two_roots > 0).then(|| Failure {
        code: "two_roots",
        message: "a log has signed two roots for one size: it has two histories".to_owned(),
        exit: Exit::Findings,
    });
    let exit = failure.as_ref().map_or(Exit::Holds, |failure| failure.exit);
    output.answer(&Answer { ok: failure.is_none(), name: "witness", content: &content, text, failure })?;
    Ok(exit)
}

fn write_evidence(directory: &Path, number: usize, row: &EvidenceRow) -> Result<(), Failure> {
    let (last, request) = (String::from_utf8_lossy(&row.last), String::from_utf8_lossy(&row.request));
    let mut files = vec![("checkpoint", last.into_owned()), ("request", request.into_owned())];
    // The request as a proof that eds verify-proof reads, and finds contradicted by the checkpoint.
    if let Ok(request) = AddCheckpoint::parse(&row.request) {
        files.push(("proof", proof_of(&request, row).to_string()));
    }
    for (kind, text) in files {
        let path = directory.join(format!("{number:03}-{}.{kind}", row.kind.name()));
        outputs::save_to(&path, &text)?;
    }
    Ok(())
}

/// Returns the consistency proof that a request claims to have from the last cosigned checkpoint. If both have the same
/// size, any proof of the request is beside the point.
fn proof_of(request: &AddCheckpoint, row: &EvidenceRow) -> ConsistencyProof {
    let last = Note::parse(&row.last).ok().and_then(|note| Signed::parse(note.text()).ok());
    let is_same = last.is_some_and(|last| last.size() == request.size());
    let (old, path) =
        if is_same { (request.size(), Vec::new()) } else { (request.old(), request.proof().to_vec()) };
    ConsistencyProof { old, path, checkpoint: request.note().clone() }
}

fn evidence_content(row: &EvidenceRow) -> Value {
    json!({
        "origin": row.origin,
        "kind": row.kind.name(),
        "at_ms": row.at.saturating_mul(1000),
        "checkpoint": String::from_utf8_lossy(&row.last),
        "request": String::from_utf8_lossy(&row.request),
    })
}

fn answer(output: &Output, content: &Value, text: String) -> Result<Exit, Failure> {
    output.answer(&Answer { ok: true, name: "witness", content, text, failure: None })?;
    Ok(Exit::Holds)
}
