//! The checklist after a restore, as a program: no record acknowledged before the incident is missing, and the
//! restored records are intact.

mod log;
pub(crate) mod transparency;

use std::sync::Arc;

use edgesentry_chain::count;
use edgesentry_chain::{FindingCode, Heads, InputKind, KeyRing, Level, ProvidedBy, Report, Verdict};
use edgesentry_formats::{Options, Progress};
use edgesentry_rs::ledger::{Filter, Ledger};
use edgesentry_rs::payload::PayloadStore;
use edgesentry_rs::verify::{Registered, Verification};

use crate::blocking::blocking;
use crate::check::Check;
use crate::error::Error;

pub use transparency::RestoredLog;

/// Devices that one evidence text names; the others are counted.
const MAX_SHOWN: usize = 5;

/// The drill step that reports the completed checklist.
pub(crate) const GONE_THROUGH: &str = "the checklist of verify-recovery runs without its item on alerts, because a drill \
     silences none, and without that on the transparency log, which the drill rehearses by itself";

/// The restored ledger, and the data to compare it with.
pub struct Recovery {
    /// The restored ledger.
    pub ledger: Arc<dyn Ledger>,
    /// Its payloads, if they should be hashed again.
    pub payloads: Option<Arc<dyn PayloadStore>>,
    /// The snapshot that `eds heads` wrote before the incident.
    pub heads: Option<Heads>,
    /// The devices' keys; by default those that the ledger has registered, which the evidence states.
    pub keys: Option<KeyRing>,
    /// The links after which chains begin that do not begin at sequence 1. Without them such a chain fails: the
    /// restored ledger cannot vouch for its beginning.
    pub start_heads: Option<Heads>,
    /// The target time of the restore, Unix milliseconds.
    pub target_ms: Option<u64>,
    /// The transparency log.
    pub log: RestoredLog,
    /// The silenced alerts.
    pub silences: Silences,
}

/// The alerts that were silenced for an incident.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Silences {
    /// No Alertmanager was asked, so the item is unknown.
    NotAsked,
    /// The active silences of the Alertmanager, one a line, or why it did not respond.
    Asked(Result<Vec<String>, String>),
    /// A drill silences no alert, so its checklist does not have the item.
    OfDrill,
}

/// Makes the checks of the checklist. A store that fails makes its items unknown, never passed.
pub async fn verify(recovery: &Recovery, progress: &Arc<Progress>) -> Vec<Check> {
    let answers = recovery.ledger.check().await;
    let evidence =
        answers.as_ref().map_or_else(|error| error.describe(), |()| recovery.ledger.place().to_owned());
    let mut checks = vec![Check::new("the ledger responds", answers.is_ok(), evidence)];
    checks.extend(writes(&*recovery.ledger).await);
    checks.push(last_sequences(recovery).await);
    checks.extend(chains(recovery, progress).await);
    checks.push(log::check(&*recovery.ledger, recovery.target_ms).await);
    checks.extend(transparency::check(&recovery.log, &*recovery.ledger).await);
    checks.extend(silences(&recovery.silences));
    checks
}

/// Checks that the ledger takes writes: it is open read-only, so a response does not prove that.
async fn writes(ledger: &dyn Ledger) -> Option<Check> {
    let name = "the server of the ledger accepts writes";
    Some(match ledger.takes_writes().await {
        Ok(None) => return None,
        Ok(Some(true)) => {
            Check::new(name, true, "it is not in recovery, and transactions may write by default")
        }
        Ok(Some(false)) => Check::new(
            name,
            false,
            "it is a standby or still in recovery, or default_transaction_read_only is on",
        ),
        Err(error) => Check::unknown(name, error.describe()),
    })
}

async fn last_sequences(recovery: &Recovery) -> Check {
    let name = "every device is at its sequence of the snapshot from before the incident, or further";
    let Some(snapshot) = recovery.heads.as_ref() else {
        return Check::unknown(
            name,
            "no snapshot was given; pass the file that eds heads wrote with --heads",
        );
    };
    let now = match recovery.ledger.heads().await {
        Ok(now) => now,
        Err(error) => return Check::unknown(name, error.describe()),
    };
    let mut behind: Vec<String> = Vec::new();
    let mut missing = 0;
    for (device, head) in snapshot.iter() {
        let is = now.get(device).map_or(0, |head| head.sequence);
        if is < head.sequence {
            missing += head.sequence - is;
            behind.push(format!("{device:?} is at {is}, was at {}", head.sequence));
        }
    }
    let further: u64 = now
        .iter()
        .map(|(device, head)| {
            head.sequence.saturating_sub(snapshot.get(device).map_or(0, |head| head.sequence))
        })
        .sum();
    if behind.is_empty() {
        let devices = count(snapshot.len() as u64, "device");
        let further = count(further, "record");
        return Check::new(name, !snapshot.is_empty(), format!("{devices}, {further} after the snapshot"));
    }
    let more = behind.len().saturating_sub(MAX_SHOWN);
    behind.truncate(MAX_SHOWN);
    let more = if more > 0 { format!("; and {}", count(more as u64, "more device")) } else { String::new() };
    let are = if missing == 1 { "is" } else { "are" };
    let missing = count(missing, "record");
    Check::new(name, false, format!("{missing} {are} missing: {}{more}", behind.join("; ")))
}

/// Checks chains, signatures and payloads, in one pass over the ledger.
async fn chains(recovery: &Recovery, progress: &Arc<Progress>) -> Vec<Check> {
    let names = [
        "every chain is whole, and passes through its head of the snapshot",
        "every signature holds",
        "every payload has the hash that its record commits to",
    ];
    let all_unknown = |why: String| names.map(|name| Check::unknown(name, why.clone())).to_vec();
    let verification = Verification {
        ledger: Arc::clone(&recovery.ledger),
        payloads: recovery.payloads.clone(),
        filter: Filter::default(),
        keys: recovery.keys.clone(),
        claimed_keys: None,
        heads: recovery.heads.clone(),
        start_heads: recovery.start_heads.clone(),
        registered: Registered { keys: true, ..Registered::default() },
        manifest: None,
        options: Options::default(),
    };
    let (handle, progress) = (tokio::runtime::Handle::current(), Arc::clone(progress));
    let report = blocking(move || Ok(verification.run(&handle, &progress)?)).await;
    let report = match report {
        Ok(report) => report,
        Err(error) => return all_unknown(error.describe()),
    };
    if report.verdict == Verdict::NothingToVerify {
        return all_unknown("there is no record in the ledger".to_owned());
    }
    let whose = match report.coverage.claimed_by(InputKind::Keys) {
        Some(ProvidedBy::Ledger) => "the keys that the ledger itself has registered",
        _ => "the given key ring",
    };
    let (records, devices) = (report.coverage.records, report.coverage.devices);
    let snapshot = if recovery.heads.is_some() {
        ""
    } else {
        "; without a snapshot, chains that were cut off go unnoticed"
    };
    let begins_later = report.counts.contains_key(&FindingCode::FirstRecordNotGenesis);
    let beginnings = if begins_later && recovery.start_heads.is_none() {
        "; for chains that began elsewhere, pass the links before them with --start-heads"
    } else {
        ""
    };
    let unsigned = report.coverage.signatures.as_ref().map_or(records, |signatures| signatures.unchecked);
    let checked = report.coverage.payloads.as_ref().map(|payloads| payloads.checked);
    vec![
        judged(
            names[0],
            &report,
            &[Level::Links, Level::Heads],
            format!("{} of {}{snapshot}{beginnings}", count(records, "record"), count(devices, "device")),
        ),
        judged(
            names[1],
            &report,
            &[Level::Signatures],
            format!("{} under {whose}", count(records - unsigned.min(records), "signature")),
        ),
        match checked {
            Some(checked) => {
                let hashed = if checked == 1 { "was hashed" } else { "were hashed" };
                let evidence = format!("{} {hashed} again", count(checked, "payload"));
                judged(names[2], &report, &[Level::Payloads], evidence)
            }
            None => Check::unknown(
                names[2],
                "no payload store is set, so no payload was hashed; pass it with --payload-store",
            ),
        },
    ]
}

/// Returns passed if the report has no finding of these levels.
fn judged(name: &str, report: &Report, levels: &[Level], evidence: String) -> Check {
    let counts = report.counts.iter().filter(|(code, _)| levels.contains(&code.level()));
    let found: Vec<String> = counts.map(|(code, count)| format!("{count} {code}")).collect();
    if found.is_empty() {
        return Check::new(name, true, evidence);
    }
    let first = report.findings.iter().find(|finding| levels.contains(&finding.code.level()));
    let first = first.map(|finding| {
        let device = finding.device_id.as_deref().unwrap_or("no device");
        let sequence = finding.sequence.map_or_else(String::new, |sequence| format!(" at {sequence}"));
        format!("; the first: {} of {device:?}{sequence}", finding.code)
    });
    Check::new(name, false, format!("{}{}; {evidence}", found.join(", "), first.unwrap_or_default()))
}

fn silences(silences: &Silences) -> Option<Check> {
    let name = "alerts that were suppressed for the incident are on again";
    Some(match silences {
        Silences::OfDrill => return None,
        Silences::NotAsked => Check::unknown(
            name,
            "no Alertmanager was asked; pass it with --alertmanager URL, or check with amtool silence query",
        ),
        Silences::Asked(Err(why)) => Check::unknown(name, why.clone()),
        Silences::Asked(Ok(silences)) if silences.is_empty() => {
            Check::new(name, true, "no silence is active")
        }
        Silences::Asked(Ok(silences)) => {
            let lift = format!("{}; lift each with amtool silence expire ID", silences.join("; "));
            Check::new(name, false, lift)
        }
    })
}

/// Returns the active silences of an Alertmanager, by its own program `amtool`.
///
/// # Errors
/// The reason why `amtool` cannot be run, or does not reach the Alertmanager.
pub async fn active_silences(alertmanager: &str) -> Result<Vec<String>, String> {
    let url = format!("--alertmanager.url={alertmanager}");
    let asked = blocking(move || {
        let mut amtool = std::process::Command::new("amtool");
        amtool.args([&url, "--output=simple", "silence", "query"]);
        crate::program::done(&mut amtool, std::time::Duration::from_secs(30))
    });
    let text = asked.await.map_err(|error: Error| error.describe())?;
    Ok(text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Status;

    #[test]
    fn silences_are_unknown_without_an_alertmanager() {
        assert_eq!(silences(&Silences::OfDrill), None);
        let status = |of: Silences| {
            let check = silences(&of).expect("an item of the checklist");
            assert_eq!(check.status == Status::Passed, check.evidence == "no silence is active", "{check:?}");
            check.status
        };
        assert_eq!(status(Silences::NotAsked), Status::Unknown);
        assert_eq!(status(Silences::Asked(Err("it does not respond".to_owned()))), Status::Unknown);
        assert_eq!(status(Silences::Asked(Ok(vec!["1 alertname=X".to_owned()]))), Status::Failed);
        assert_eq!(status(Silences::Asked(Ok(Vec::new()))), Status::Passed);
    }
}
