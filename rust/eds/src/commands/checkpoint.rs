//! `eds checkpoint`: the transparency log of a ledger.

mod show;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use edgesentry_formats::times::{now_ms, to_rfc3339};
use edgesentry_formats::{Seed, create_seed_file, describe};
use edgesentry_log::Checkpoint as Signed;
use edgesentry_log::MAX_WITNESS_RESPONSE_BYTES;
use edgesentry_rs::ledger::{Conflicts, CosignatureRow, Replaced, TimestampRow};
use edgesentry_rs::log::{
    AddedCosignature, LogError, LogStatus, Sequenced, StampRound, Stores, TransparencyLog, WitnessProgress,
    compare_heads,
};
use edgesentry_rs::settings::Access;
use edgesentry_rs::telemetry::metrics::Metrics;
use serde_json::{Value, json};

use super::{erase, verify_proof};
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::output::{Answer, Output};
use crate::random;
use crate::remote::RemoteArgs;
use crate::stores::{LedgerArgs, Opened};
use crate::text::{count, name, number, sentence};

/// Append the new records of a ledger to its transparency log, and sign a checkpoint
///
/// The settings are in the section [log]: origin, key, previous_keys, store, lock, interval_seconds, max_records, policy,
/// require_quorum, cosign_seconds, tsa. Without a subcommand it does the same as run. Ingest does not wait for this command, and
/// continues after its errors.
/// Exit code 1 if the ledger was changed without the service, 3 if the log cannot continue.
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  eds checkpoint init --heads heads.json           open the log; the ledger must have these heads
  eds checkpoint init --previous checkpoint --policy policy    open a successor of a log
  eds checkpoint                                   append the new records, and sign
  eds checkpoint stamp                             time stamps of the last checkpoint
  eds checkpoint status --json
  eds checkpoint show > checkpoint                 the published checkpoint, to keep
  eds checkpoint show --url https://audit.example --policy policy
  eds checkpoint request w1 > request.txt          for a witness without a network
  eds checkpoint cosigned cosignature.txt
  eds checkpoint recover                           after a restore of the ledger to an earlier time
  eds checkpoint recover --replace-conflicts       if devices have sent other records meanwhile"
)]
pub(crate) struct Checkpoint {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    ledger: LedgerArgs,
}

/// What to do with the log.
#[derive(Subcommand, Debug)]
enum Action {
    /// Open the log of a ledger; makes the key of a new log if its file does not exist, and signs nothing yet
    Init {
        /// Trusted heads, as eds heads writes them; the log is not opened if the ledger disagrees
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
        /// The last checkpoint of the log of the ledger, which this log succeeds: its first leaf names the checkpoint. Needs
        /// --policy, a new log.origin, and new places log.store and log.lock
        #[arg(long, value_name = "CHECKPOINT", requires = "policy")]
        previous: Option<PathBuf>,
        /// Trusted keys of the log that this one succeeds, and of its witnesses
        #[arg(long, value_name = "FILE", requires = "previous")]
        policy: Option<PathBuf>,
        #[command(flatten)]
        ledger: LedgerArgs,
    },
    /// Sequence all committed records, store the tiles, sign, and delete the payloads that are to be erased
    Run {
        #[command(flatten)]
        ledger: LedgerArgs,
    },
    /// Ask the time stamping authorities of log.tsa for stamps of the last checkpoint, without waiting for log.tsa.interval_seconds
    Stamp {
        #[command(flatten)]
        ledger: LedgerArgs,
    },
    /// Show the state of the log, and check that it can continue
    Status {
        #[command(flatten)]
        ledger: LedgerArgs,
    },
    /// Write the published checkpoint, a signed note, of a ledger or of a service
    ///
    /// Keep it where the operator of the log cannot change it: eds verify-chain --checkpoint and eds prove consistency take
    /// it. With --url it is the checkpoint of a service: its token needs the scope read.
    Show {
        /// Trusted keys of the log and of its witnesses: the checkpoint is written only if they signed it
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// File to write [default: stdout]
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        #[command(flatten)]
        ledger: LedgerArgs,
        #[command(flatten)]
        remote: RemoteArgs,
    },
    /// Write the request to cosign the last checkpoint, for a witness of the policy that the log cannot reach
    Request {
        /// The name of the witness in the policy
        #[arg(value_name = "WITNESS")]
        witness: String,
        /// The size of the last checkpoint that the witness has cosigned, at least that of the ledger [default: as the ledger
        /// has it]
        #[arg(long, value_name = "SIZE")]
        old: Option<u64>,
        #[command(flatten)]
        ledger: LedgerArgs,
    },
    /// Read the cosignature of a checkpoint from a file, and publish the checkpoint if the quorum is complete
    ///
    /// The checkpoint is the published one or a newer one; the log may have signed further checkpoints since the request.
    /// If a service writes the log, it publishes the checkpoint in its next round.
    Cosigned {
        /// The signature line, as eds witness cosign prints it; - is stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
        #[command(flatten)]
        ledger: LedgerArgs,
    },
    /// Withdraw a batch that is not signed, because the ledger was changed before its records got their positions
    ///
    /// A log that stopped with ledger_tampered continues after the record is repaired. If positions were assigned from a
    /// changed hash or head, they contradict the repaired record too; withdraw the batch in this case. The next run gives
    /// positions to the records that the ledger has, so compare the ledger with trusted heads first. The command refuses to
    /// withdraw a batch that agrees with the ledger, is signed or has files in the store.
    Withdraw {
        /// Trusted heads, as eds heads writes them; the batch stays if the ledger disagrees
        #[arg(long, value_name = "FILE")]
        heads: Option<PathBuf>,
        #[command(flatten)]
        ledger: LedgerArgs,
    },
    /// Put the records of the log back into a ledger that was restored to an earlier time
    ///
    /// Every leaf is first checked against its signed checkpoint. Existing content of the ledger must be the same.
    /// Payloads are not in the log.
    Recover {
        /// Let the records of the log replace other records that the ledger has accepted since the restore. Those, and all
        /// later records of their devices, go to the operation log as evidence: eds log --reason log_conflict
        #[arg(long)]
        replace_conflicts: bool,
        #[command(flatten)]
        ledger: LedgerArgs,
    },
}

impl Checkpoint {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match &self.action {
            None => run(&self.ledger, output),
            Some(Action::Run { ledger }) => run(ledger, output),
            Some(Action::Stamp { ledger }) => stamp(ledger, output),
            Some(Action::Init { heads, previous, policy, ledger }) => {
                let previous = previous.as_deref().zip(policy.as_deref());
                let previous = previous.map(|(path, policy)| trusted(path, policy)).transpose()?;
                init(ledger, heads.as_deref(), previous.as_ref(), output)
            }
            Some(Action::Status { ledger }) => status(ledger, output),
            Some(Action::Show { policy, output: file, ledger, remote }) => {
                show::show(ledger, remote, policy.as_deref(), file.as_deref(), output)
            }
            Some(Action::Request { witness, old, ledger }) => request(ledger, witness, *old, output),
            Some(Action::Cosigned { file, ledger }) => cosigned(ledger, file, output),
            Some(Action::Withdraw { heads, ledger }) => withdraw(ledger, heads.as_deref(), output),
            Some(Action::Recover { replace_conflicts, ledger }) => {
                recover(ledger, *replace_conflicts, output)
            }
        }
    }
}

/// Opens the log of a ledger.
pub(crate) fn log_of(opened: &Opened, stores: Stores) -> Result<TransparencyLog, Failure> {
    let settings = &opened.settings;
    let file = settings.ledger_file();
    opened.wait(settings.log.open(&*opened.ledger, file.as_deref(), &settings.s3, stores))
}

/// Waits for the log.
pub(crate) fn wait<T>(
    opened: &Opened,
    work: impl Future<Output = Result<T, LogError>>,
) -> Result<T, Failure> {
    opened.runtime.block_on(work).map_err(|error| failure(&error))
}

/// An error of the log: a finding if it is about the records.
pub(crate) fn failure(error: &LogError) -> Failure {
    let exit = match error.code() {
        "ledger_tampered" | "head_mismatch" | "log_conflict" => Exit::Findings,
        "log_not_opened" | "log_origin" | "log_not_withdrawn" | "log_not_succeeded" | "log_witness"
        | "log_store_unfit" => Exit::Usage,
        _ => Exit::Unfinished,
    };
    let mut message = describe(error);
    if error.tampered().is_some() {
        message.push_str(
            "; the log stops and ingest continues; the evidence is kept below log/evidence/ in log.lock; verify the \
             ledger, and restore the record; if the log still stops there, eds checkpoint withdraw",
        );
    }
    Failure { code: error.code(), message, exit }
}

/// Reads a checkpoint that a policy trusts.
fn trusted(path: &Path, policy: &Path) -> Result<Signed, Failure> {
    let (note, checkpoint) = verify_proof::checkpoint(path)?;
    match verify_proof::policy(policy)?.evaluate(&note) {
        Ok(_) => Ok(checkpoint),
        Err(error) => {
            let message = format!("{}: {error}; no log was opened", path.display());
            Err(Failure { code: error.code(), message, exit: Exit::Findings })
        }
    }
}

fn init(
    ledger: &LedgerArgs,
    heads: Option<&Path>,
    previous: Option<&Signed>,
    output: &Output,
) -> Result<Exit, Failure> {
    let heads = heads.map(inputs::heads).transpose()?;
    let opened = ledger.open(Access::Existing)?;
    if let Some(heads) = &heads {
        wait(&opened, compare_heads(&*opened.ledger, heads))?;
    }
    if opened.settings.log.is_on() {
        make_key(&opened, previous.map(Signed::origin), output)?;
    }
    let log = log_of(&opened, Stores::Create)?;
    wait(&opened, log.check_stores())?;
    let state = match previous {
        Some(previous) => wait(&opened, log.succeed(previous, now_ms()))?,
        None => wait(&opened, log.init(now_ms()))?,
    };
    let compared = heads.map_or(0, |heads| heads.len() as u64);
    let mut content = json!({
        "origin": state.origin,
        "verifier_key": log.key().to_string(),
        "verifier_keys": verifier_keys(&log),
        "store": log.place(),
        "heads_compared": compared,
    });
    let mut text = format!("{}: open, {} agree\n", name(&state.origin), count(compared, "trusted head"));
    if let Some(previous) = previous {
        let (origin, size, root) = (previous.origin(), previous.size(), previous.root());
        content["previous"] = json!({"origin": origin, "size": size, "root": root.to_string()});
        text.push_str(&format!("  succeeds  {} at size {}, root {root}\n", name(origin), number(size)));
    }
    for key in log.keys() {
        text.push_str(&format!("  key    {key}\n"));
    }
    text.push_str(&format!("  store  {}\n", name(log.place())));
    answer(output, &content, text)
}

/// Makes the key of a new log, unless there is one. A log that exists cannot go on under another key.
fn make_key(opened: &Opened, predecessor: Option<&str>, output: &Output) -> Result<(), Failure> {
    let settings = &opened.settings;
    let Some(path) = settings.log.key_file()?.filter(|path| !path.exists()) else { return Ok(()) };
    let file = settings.ledger_file();
    if opened.wait(settings.log.exists(&*opened.ledger, file.as_deref(), &settings.s3, predecessor))? {
        let path = path.display();
        let message = format!(
            "{path}: the key of the log is missing, and the log exists; restore the key from its copy"
        );
        return Err(Failure { code: "log_key_missing", message, exit: Exit::Usage });
    }
    create_key(path)?;
    output.note(&format!("{}: a new key of the log, mode 0600; keep a copy in a safe place", path.display()));
    Ok(())
}

/// Makes a key in a new file.
pub(crate) fn create_key(path: &Path) -> Result<(), Failure> {
    let mut seed = Seed::default();
    random::fill(seed.as_mut_slice())?;
    Ok(create_seed_file(path, &seed)?)
}

fn run(ledger: &LedgerArgs, output: &Output) -> Result<Exit, Failure> {
    let opened = ledger.open(Access::Existing)?;
    let log = log_of(&opened, Stores::Existing)?;
    let done = opened.runtime.block_on(async {
        let mut leader = log.lead().await?;
        log.sequence(&mut leader).await
    });
    let (done, failure) = match done {
        Ok(done) => (done, None),
        // The checkpoint is signed.
        Err(error @ LogError::QuorumMissing { .. }) => (Sequenced::default(), Some(failure(&error))),
        Err(error) => return Err(failure(&error)),
    };
    let stamps = wait(&opened, log.stamp(false, &Metrics::global()))?;
    note_failures(&stamps, output);
    let mut status = wait(&opened, log.status())?;
    if status.open_erasures.count > 0 {
        erase_due(ledger, output)?;
        status = wait(&opened, log.status())?;
    }
    let mut content = status_content(&status);
    content["batches"] = done.batches.into();
    content["new_leaves"] = done.leaves.into();
    let new = match done.batches {
        _ if failure.is_some() => "the last checkpoint waits for its witnesses".to_owned(),
        0 => "nothing new".to_owned(),
        batches => format!("{} in {} signed", count(done.leaves, "new leaf"), count(batches, "batch")),
    };
    let text = format!("{}: {new}\n{}", name(&status.state.origin), status_text(&status));
    let exit = failure.as_ref().map_or(Exit::Holds, |failure| failure.exit);
    let ok = failure.is_none();
    output.answer(&Answer { ok, name: "checkpoint", content: &content, text, failure })?;
    Ok(exit)
}

/// Notes the authorities without a valid answer.
fn note_failures(stamps: &StampRound, output: &Output) {
    for failure in &stamps.failures {
        output.note(&format!(
            "note: no time stamp from {}: {}",
            name(&failure.tsa),
            sentence(&failure.problem)
        ));
    }
}

fn stamp(ledger: &LedgerArgs, output: &Output) -> Result<Exit, Failure> {
    let opened = ledger.open(Access::Existing)?;
    if opened.settings.log.tsa.urls.is_empty() {
        let message = "log.tsa.urls is not set; set it to the URLs of time stamping authorities";
        return Err(Failure::usage("config", message));
    }
    let log = log_of(&opened, Stores::Existing)?;
    let stamps = wait(&opened, log.stamp(true, &Metrics::global()))?;
    let status = wait(&opened, log.status())?;
    let mut content = status_content(&status);
    content["new_timestamps"] = stamps.stamps.len().into();
    let failures = stamps.failures.iter().map(|failure| format!("{}: {}", failure.tsa, failure.problem));
    let failures: Vec<String> = failures.collect();
    let failure = (!failures.is_empty())
        .then(|| Failure::unfinished("tsa_failed", format!("no time stamp from {}", failures.join("; "))));
    let text = format!(
        "{}: {}\n{}",
        name(&status.state.origin),
        count(stamps.stamps.len() as u64, "new time stamp"),
        status_text(&status)
    );
    let ok = failure.is_none();
    output.answer(&Answer { ok, name: "checkpoint", content: &content, text, failure })?;
    Ok(if ok { Exit::Holds } else { Exit::Unfinished })
}

/// Deletes payloads that are to be erased, if a payload store is configured.
fn erase_due(ledger: &LedgerArgs, output: &Output) -> Result<(), Failure> {
    let opened = ledger.open_with_payloads(None, Access::Existing)?;
    if opened.payloads.is_none() {
        return Ok(());
    }
    let finished = wait(&opened, erase::eraser(&opened)?.finish_due())?;
    for erasure in &finished.left {
        let text = erase::text(erasure);
        output.note(&format!("note: {}", text.lines().next().unwrap_or_default()));
    }
    Ok(())
}

fn status(ledger: &LedgerArgs, output: &Output) -> Result<Exit, Failure> {
    let opened = ledger.open(Access::Read)?;
    let log = log_of(&opened, Stores::Existing)?;
    let mut failure = wait(&opened, log.check()).err();
    // A ledger that was restored to a time before its log has no status, and the lock shows that it is behind.
    let status = wait(&opened, log.status()).map_err(|error| failure.take().unwrap_or(error))?;
    let evidence = opened.wait(log.evidence())?;
    let exit = failure.as_ref().map_or(Exit::Holds, |failure| failure.exit);
    let mut text = format!("{}\n{}", name(&status.state.origin), status_text(&status));
    for key in log.keys() {
        text.push_str(&format!("  key         {key}\n"));
    }
    if !evidence.is_empty() {
        let files = count(evidence.len() as u64, "file");
        let place = name(log.lock_place());
        text.push_str(&format!(
            "  evidence    {files} about a changed ledger below log/evidence/ in {place}\n"
        ));
    }
    let mut content = status_content(&status);
    content["verifier_keys"] = verifier_keys(&log).into();
    content["evidence"] = json!(evidence);
    let ok = failure.is_none();
    output.answer(&Answer { ok, name: "checkpoint", content: &content, text, failure })?;
    Ok(exit)
}

fn request(ledger: &LedgerArgs, witness: &str, old: Option<u64>, output: &Output) -> Result<Exit, Failure> {
    let opened = ledger.open(Access::Read)?;
    let log = log_of(&opened, Stores::Existing)?;
    let request = wait(&opened, log.witness_request(witness, old))?;
    let content = json!({
        "witness": witness,
        "size": request.size(),
        "old": request.old(),
        "request": request.to_string(),
    });
    answer(output, &content, request.to_string())
}

fn cosigned(ledger: &LedgerArgs, file: &Path, output: &Output) -> Result<Exit, Failure> {
    let response = inputs::start(file, MAX_WITNESS_RESPONSE_BYTES)?;
    let opened = ledger.open(Access::Existing)?;
    let log = log_of(&opened, Stores::Existing)?;
    let AddedCosignature { witness, size } = wait(&opened, log.add_cosignature(&response))?;
    let is_published = wait(&opened, async {
        match log.lead().await {
            Ok(leader) => log.publish_added(&leader, size).await.map(|()| true),
            Err(LogError::LedElsewhere) => Ok(false),
            Err(error) => Err(error),
        }
    })?;
    let status = wait(&opened, log.status())?;
    let mut content = status_content(&status);
    content["witness"] = witness.clone().into();
    content["cosigned_size"] = size.into();
    content["published"] = is_published.into();
    let then = match is_published {
        true => "published",
        false => {
            "kept: the process that writes the log publishes the checkpoint at the quorum, in its next round"
        }
    };
    let text = format!(
        "{}: size {} cosigned by {}, and {then}\n{}",
        name(&status.state.origin),
        number(size),
        name(&witness),
        status_text(&status)
    );
    answer(output, &content, text)
}

fn withdraw(ledger: &LedgerArgs, heads: Option<&Path>, output: &Output) -> Result<Exit, Failure> {
    let heads = heads.map(inputs::heads).transpose()?;
    let opened = ledger.open(Access::Existing)?;
    if let Some(heads) = &heads {
        wait(&opened, compare_heads(&*opened.ledger, heads))?;
    }
    let log = log_of(&opened, Stores::Existing)?;
    let done = wait(&opened, async {
        let mut leader = log.lead().await?;
        log.withdraw(&mut leader).await
    })?;
    let status = wait(&opened, log.status())?;
    let leaves = done.batch.size - done.batch.first_index;
    let mut content = status_content(&status);
    content["leaves_withdrawn"] = leaves.into();
    content["contradiction"] = describe(&done.contradiction).into();
    let text = format!(
        "{}: {} withdrawn\n  because     {}\n{}",
        name(&status.state.origin),
        count(leaves, "leaf"),
        sentence(&describe(&done.contradiction)),
        status_text(&status)
    );
    answer(output, &content, text)
}

fn recover(ledger: &LedgerArgs, replace_conflicts: bool, output: &Output) -> Result<Exit, Failure> {
    let conflicts = if replace_conflicts { Conflicts::Replace } else { Conflicts::Refuse };
    let opened = ledger.open(Access::Existing)?;
    let log = log_of(&opened, Stores::Existing)?;
    let done = wait(&opened, async {
        log.reopen().await?;
        let mut leader = log.lead().await?;
        log.recover(&mut leader, conflicts).await
    })?;
    let status = wait(&opened, log.status())?;
    let mut content = status_content(&status);
    content["batches"] = done.batches.into();
    content["leaves_restored"] = done.leaves.into();
    content["replaced"] = done.replaced.iter().map(replaced_content).collect();
    let mut text = format!(
        "{}: {} in {} put back\n{}",
        name(&status.state.origin),
        count(done.leaves, "leaf"),
        count(done.batches, "batch"),
        status_text(&status)
    );
    for Replaced { device_id, first_sequence, last_sequence } in &done.replaced {
        text.push_str(&format!("  replaced    {}, {first_sequence} to {last_sequence}\n", name(device_id)));
    }
    if !done.replaced.is_empty() {
        text.push_str("  the replaced records are in the operation log: eds log --reason log_conflict\n");
    }
    answer(output, &content, text)
}

fn replaced_content(replaced: &Replaced) -> Value {
    json!({
        "device_id": replaced.device_id,
        "first_sequence": replaced.first_sequence,
        "last_sequence": replaced.last_sequence,
    })
}

/// Returns the keys that sign, the current one first.
fn verifier_keys(log: &TransparencyLog) -> Vec<String> {
    log.keys().map(ToString::to_string).collect()
}

fn status_content(status: &LogStatus) -> Value {
    let checkpoint = status.checkpoint.as_ref();
    json!({
        "origin": status.state.origin,
        "size": checkpoint.map_or(0, |checkpoint| checkpoint.size),
        "root": checkpoint.map(|checkpoint| checkpoint.root.to_string()),
        "signed_at_ms": checkpoint.map(|checkpoint| checkpoint.signed_at_ms),
        "checkpoint": checkpoint.map(|checkpoint| String::from_utf8_lossy(&checkpoint.note)),
        "checkpoints": checkpoint.map_or(0, |checkpoint| checkpoint.lock_number),
        "cosignatures": status.cosignatures.iter().map(cosignature_content).collect::<Vec<_>>(),
        "witnesses": status.witnesses.iter().map(witness_content).collect::<Vec<_>>(),
        "records_waiting": status.backlog,
        "erasures_open": status.open_erasures.count,
        "oldest_erasure_at_ms": status.open_erasures.oldest_at_ms,
        "timestamps": status.timestamps.iter().map(timestamp_content).collect::<Vec<_>>(),
        "batch_under_way": status.open_batch.is_some(),
    })
}

fn cosignature_content(cosignature: &CosignatureRow) -> Value {
    json!({"verifier_key": cosignature.vkey, "time": cosignature.at})
}

fn witness_content(witness: &WitnessProgress) -> Value {
    json!({"name": witness.name, "size": witness.size})
}

fn timestamp_content(stamp: &TimestampRow) -> Value {
    json!({
        "size": stamp.size,
        "tsa": stamp.tsa,
        "authority": stamp.authority,
        "time_ms": stamp.time_ms,
        "before_ms": stamp.before_ms,
    })
}

fn status_text(status: &LogStatus) -> String {
    let mut text = match &status.checkpoint {
        Some(checkpoint) => format!(
            "  size        {}\n  root        {}\n  signed at   {}\n",
            number(checkpoint.size),
            checkpoint.root,
            to_rfc3339(checkpoint.signed_at_ms)
        ),
        None => "  no checkpoint yet\n".to_owned(),
    };
    for CosignatureRow { vkey, at, .. } in &status.cosignatures {
        let witness = vkey.split('+').next().unwrap_or_default();
        text.push_str(&format!("  cosigned    {}, {}\n", to_rfc3339(at.saturating_mul(1000)), name(witness)));
    }
    let size = status.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.size);
    for WitnessProgress { name: witness, size: cosigned } in &status.witnesses {
        let lag = match cosigned.map(|cosigned| size.saturating_sub(cosigned)) {
            None => "has cosigned nothing yet".to_owned(),
            Some(0) => "up to date".to_owned(),
            Some(lag) => format!("{} behind", count(lag, "leaf")),
        };
        text.push_str(&format!("  witness     {}, {lag}\n", name(witness)));
    }
    text.push_str(&format!("  waiting     {}\n", count(status.backlog, "record")));
    for stamp in &status.timestamps {
        let (size, time) = (number(stamp.size), to_rfc3339(stamp.before_ms));
        text.push_str(&format!(
            "  stamped     size {size} existed before {time}, by {}\n",
            name(&stamp.authority)
        ));
    }
    if status.open_erasures.count > 0 {
        text.push_str(&format!("  to erase    {}\n", count(status.open_erasures.count, "payload")));
    }
    text
}

fn answer(output: &Output, content: &Value, text: String) -> Result<Exit, Failure> {
    output.answer(&Answer { ok: true, name: "checkpoint", content, text, failure: None })?;
    Ok(Exit::Holds)
}
