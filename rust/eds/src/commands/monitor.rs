//! `eds monitor`: replays a transparency log and compares it with its witnesses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use edgesentry_formats::times::{parse_seconds, to_rfc3339};
use edgesentry_formats::{Destination, Readers, describe};
use edgesentry_rs::Settings;
use edgesentry_rs::log::{
    self, Checked, FailureKind, FindingClass, MonitorFinding, MonitorFindings, MonitorOutcome,
    MonitorSettings, monitor_pause,
};
use edgesentry_rs::settings::Overrides;
use edgesentry_rs::telemetry::metrics::Metrics;
use edgesentry_rs::telemetry::subscriber::{self, LISTENING};
use edgesentry_serve::metrics::MetricsServer;
use futures::FutureExt;
use sd_notify::NotifyState;
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::commands::push::token;
use crate::commands::serve::{LogArgs, watchdog};
use crate::commands::verify_proof;
use crate::exit::{Exit, Failure};
use crate::interrupt;
use crate::output::{Answer, Output};
use crate::remarks::log_filter;
use crate::stores::{Asked, ConfigFile, load};
use crate::text::{count, name, number, shown};
use crate::threads;

const BAD: Style = AnsiColor::Red.on_default().bold();
const CARE: Style = AnsiColor::Yellow.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();

/// The target of events of a monitor; it is part of the interface.
const MONITOR: &str = "edgesentry_rs::log::monitor";

/// Replay every leaf of a transparency log, and compare its checkpoints with those of the witnesses
///
/// Run it where the operator of the log has no access, under a policy of your own. Each round reads the
/// checkpoint, replays the new leaves, and asks each witness of the policy that has a URL for its checkpoint.
/// The state keeps the verified checkpoint, the progress, and the findings, which stay reported until they are
/// acknowledged. Findings have two classes: tamper (the log contradicts itself, an earlier checkpoint or a
/// witness) and unverifiable (the log shows something that cannot be checked or is not trusted). A log or
/// witness that cannot be read is not a finding. Exit code with --once: 0 if every leaf was replayed, every
/// witness was compared and no finding is open; 1 if a finding is open or an acknowledged one holds again; 3 if
/// a log or witness cannot be read or the replay needs another round. Without --once the command runs until
/// SIGTERM or Ctrl-C, and logs to stderr.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds monitor https://audit.example/log --policy policy --state lifts.db --once
  eds monitor s3://audit-log/log --policy policy --state lifts.db \\
      --interval 5m --metrics-listen 127.0.0.1:9465
  eds monitor --state lifts.db --findings
  eds monitor --state lifts.db --evidence case-4711
  eds monitor --state lifts.db --acknowledge 3")]
pub(crate) struct Monitor {
    /// The log, with checkpoint and tile/ below it: http://, https://, s3://BUCKET/PREFIX or folder:PATH
    #[arg(value_name = "URL", required_unless_present_any = ["findings", "acknowledge", "evidence"])]
    #[arg(conflicts_with_all = ["findings", "acknowledge", "evidence"], requires = "policy")]
    url: Option<String>,
    /// Trusted keys of the log and of its witnesses with their URLs, and the quorum
    #[arg(long, value_name = "FILE", requires = "url")]
    policy: Option<PathBuf>,
    /// File with the state, SQLite; created if it is missing
    #[arg(long, value_name = "FILE")]
    state: PathBuf,
    /// Run one round
    #[arg(long, requires = "url")]
    once: bool,
    /// Time between two rounds, such as 30s, 5m or 1h; longer after failures
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_seconds, requires = "url")]
    interval: u64,
    /// Report a checkpoint whose witnesses signed it longer ago, such as 15m or 24h
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, requires = "url")]
    max_age: Option<u64>,
    /// The name of the log, if the policy has several
    #[arg(long, value_name = "NAME", requires = "url")]
    origin: Option<String>,
    /// Continue under a policy other than that of the state
    #[arg(long, requires = "url")]
    accept_policy: bool,
    /// Serve GET /metrics for Prometheus on this address
    #[arg(long, alias = "listen", value_name = "ADDRESS:PORT", requires = "url", conflicts_with = "once")]
    metrics_listen: Option<String>,
    /// File with a token for a log that is not public; or set the variable EDS_TOKEN
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// PEM file of the certificate authorities to trust [default: the system's]
    #[arg(long, value_name = "FILE", requires = "url")]
    ca: Option<PathBuf>,
    /// Seconds that a response may take
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    #[arg(requires = "url")]
    timeout: u64,
    /// Time for the replay in a round, such as 10m; the next round continues
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_seconds, requires = "url")]
    round_time: u64,
    /// List the findings of the state, acknowledged ones as well
    #[arg(long, group = "action")]
    findings: bool,
    /// Acknowledge a finding, so that it is no longer reported; the state does not move
    #[arg(long, value_name = "ID", group = "action")]
    acknowledge: Option<u64>,
    /// Write the evidence of the findings into a new directory
    #[arg(long, value_name = "DIR", group = "action")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
    #[command(flatten)]
    log: LogArgs,
}

impl Monitor {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let Some(url) = &self.url else { return self.of_state(output) };
        // From here on, before the first round.
        let asked = interrupt::asked().boxed();
        let loaded = load(self.file.config.as_deref(), &Overrides::default())?;
        let settings = self.settings(url, &loaded)?;
        if self.once {
            subscriber::init(&loaded.telemetry, log_filter("off"))?;
        } else {
            self.log.start(&loaded.telemetry)?;
        }
        let runtime = threads::runtime()?;
        runtime.block_on(async {
            let mut monitor = log::Monitor::open(settings).await?;
            let ended = if self.once {
                once(&mut monitor, asked).await
            } else {
                self.watch(&mut monitor, asked).await
            };
            monitor.close().await;
            ended?.answer(output)
        })
    }

    fn settings(&self, url: &str, loaded: &Settings) -> Result<MonitorSettings, Failure> {
        let missing =
            || Failure::usage("usage", "--policy is required: the keys of the log and of its witnesses");
        let policy = verify_proof::policy(self.policy.as_deref().ok_or_else(missing)?)?;
        Ok(MonitorSettings {
            origin: self.origin.clone(),
            accept_policy: self.accept_policy,
            max_age: self.max_age,
            token: token(self.token_file.as_deref())?.map(Into::into),
            ca: self.ca.clone(),
            timeout: Duration::from_secs(self.timeout),
            max_round: Duration::from_secs(self.round_time),
            s3: loaded.s3.clone(),
            ..MonitorSettings::new(url, policy, &self.state)
        })
    }

    /// Runs rounds until the user asks for the end.
    async fn watch(&self, monitor: &mut log::Monitor, mut asked: Asked) -> Result<Ended, Failure> {
        let metrics = Metrics::global();
        metrics.monitor_origin(monitor.origin());
        // Before the first scrape: an open finding must not disappear when the monitor restarts.
        monitor.observe(&metrics).await?;
        let server = match &self.metrics_listen {
            Some(listen) => Some(MetricsServer::start(listen, metrics.clone()).await?),
            None => None,
        };
        if let Some(server) = &server {
            info!(target: LISTENING, url = %format!("http://{}/metrics", server.address()), "listening");
        }
        // Without systemd there is no socket to notify.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let watchdog = tokio::spawn(watchdog());
        let interval = Duration::from_secs(self.interval.max(1));
        let (mut last, mut failed) = (None, 0);
        let ended = loop {
            let checked = tokio::select! {
                checked = monitor.check() => checked,
                () = &mut asked => break Ok(()),
            };
            let mut pause = interval;
            match checked {
                Ok(checked) => {
                    checked.observe(&metrics);
                    failed = if checked.has_failed() { failed + 1 } else { 0 };
                    if checked.is_unfinished() && failed == 0 {
                        pause = Duration::ZERO;
                    }
                    last = Some(checked);
                }
                Err(error) if error.is_retryable() => {
                    warn!(target: MONITOR, error = %describe(&error), "a round of the monitor failed and is repeated");
                    metrics.monitor_failed();
                    failed += 1;
                }
                Err(error) => break Err(error),
            }
            tokio::select! {
                () = tokio::time::sleep(monitor_pause(pause, failed)) => {}
                () = &mut asked => break Ok(()),
            }
        };
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        watchdog.abort();
        if let Some(server) = server {
            server.stop().await;
        }
        ended?;
        Ok(Ended::Stopped(last))
    }

    /// Reads or acknowledges findings, beside a monitor that may run.
    fn of_state(&self, output: &Output) -> Result<Exit, Failure> {
        if !self.state.exists() {
            let state = self.state.display();
            let message = format!(
                "{state}: there is no state of a monitor; eds monitor URL --policy POLICY --state {state} makes one"
            );
            return Err(Failure::usage("config", message));
        }
        let runtime = threads::runtime()?;
        runtime.block_on(async {
            let findings = MonitorFindings::open(&self.state).await?;
            let done = match (self.acknowledge, &self.evidence) {
                (Some(id), _) => acknowledge(&findings, id, output).await,
                (None, Some(directory)) => write_evidence(&findings, directory, output).await,
                (None, None) => list(&findings, output).await,
            };
            findings.close().await;
            done
        })
    }
}

/// How the rounds ended.
enum Ended {
    /// After one round.
    Once(Checked),
    /// On request, with the last finished round.
    Stopped(Option<Checked>),
}

async fn once(monitor: &mut log::Monitor, asked: Asked) -> Result<Ended, Failure> {
    tokio::select! {
        checked = monitor.check() => Ok(Ended::Once(checked?)),
        () = asked => Ok(Ended::Stopped(None)),
    }
}

impl Ended {
    fn answer(self, output: &Output) -> Result<Exit, Failure> {
        match self {
            Ended::Once(checked) => {
                let failure = failure(&checked);
                let exit = match checked.outcome() {
                    MonitorOutcome::Verified => Exit::Holds,
                    MonitorOutcome::Infrastructure => Exit::Unfinished,
                    _ => Exit::Findings,
                };
                let (content, text) = (content(&checked), text(&checked));
                let ok = exit == Exit::Holds;
                output.answer(&Answer { ok, name: "monitor", content: &content, text, failure })?;
                Ok(exit)
            }
            Ended::Stopped(checked) => {
                let content = checked.as_ref().map_or(Value::Null, content);
                let text = format!("stopped\n{}", checked.as_ref().map_or_else(String::new, text));
                let failure = None;
                output.answer(&Answer { ok: true, name: "monitor", content: &content, text, failure })?;
                Ok(Exit::Holds)
            }
        }
    }
}

/// Returns the failures of a round as the failure of the command.
fn failure(checked: &Checked) -> Option<Failure> {
    let first = checked.failures.first()?;
    let more = checked.failures.len() - 1;
    let mut message = match first.kind {
        FailureKind::Unfinished => first.to_string(),
        _ => format!("{first}; this says nothing about the log, and the next round tries again"),
    };
    if more > 0 {
        message.push_str(&format!("; and {}", count(more as u64, "further failure")));
    }
    Some(Failure::unfinished(first.kind.code(), message))
}

fn content(checked: &Checked) -> Value {
    let verified = checked.verified.as_ref();
    let verified = verified.map(
        |verified| json!({"size": verified.size, "root": verified.root.to_string(), "at_ms": verified.at_ms}),
    );
    let witnesses = checked
        .witnesses
        .iter()
        .map(|witness| json!({"name": witness.name, "state": witness.state.name(), "size": witness.size}));
    json!({
        "outcome": checked.outcome().name(),
        "origin": checked.origin,
        "verified": verified,
        "confirmed": checked.confirmed,
        "replayed": checked.replayed,
        "replaced_keys": {
            "by_device": checked.replaced_keys.by_device,
            "by_operator": checked.replaced_keys.by_operator,
        },
        "findings": checked.findings.iter().map(finding_content).collect::<Vec<_>>(),
        "findings_dropped": checked.dropped,
        "still_found": checked.found.map(FindingClass::name),
        "failures": checked.failures.iter()
            .map(|failure| {
                json!({"code": failure.kind.code(), "place": failure.place, "problem": failure.problem})
            })
            .collect::<Vec<_>>(),
        "witnesses": witnesses.collect::<Vec<_>>(),
    })
}

fn finding_content(finding: &MonitorFinding) -> Value {
    json!({
        "id": finding.id,
        "class": finding.class.name(),
        "code": finding.code,
        "message": finding.message,
        "device_id": finding.device_id,
        "sequence": finding.sequence,
        "leaf": finding.leaf,
        "first_ms": finding.first_ms,
        "last_ms": finding.last_ms,
        "times": finding.times,
        "acknowledged_ms": finding.acknowledged_ms,
        "evidence": finding.evidence,
    })
}

fn text(checked: &Checked) -> String {
    let (style, outcome) = match checked.outcome() {
        MonitorOutcome::Verified => (GOOD, "VERIFIED"),
        MonitorOutcome::Tamper => (BAD, "TAMPER"),
        MonitorOutcome::Unverifiable => (CARE, "UNVERIFIABLE"),
        _ => (CARE, "NOT CHECKED"),
    };
    let origin = name(&checked.origin);
    let mut text = match &checked.verified {
        Some(verified) => {
            let (leaves, time) = (count(verified.size, "leaf"), to_rfc3339(verified.at_ms));
            format!(
                "{style}{outcome}{style:#}  {origin}: {leaves} replayed, root {}, {time}\n",
                verified.root
            )
        }
        None => format!("{style}{outcome}{style:#}  {origin}: no checkpoint is verified yet\n"),
    };
    if checked.replayed > 0 {
        let leaves = count(checked.replayed, "further leaf");
        text.push_str(&format!("  {leaves} replayed, and not under a verified checkpoint yet\n"));
    }
    let (by_device, by_operator) = (checked.replaced_keys.by_device, checked.replaced_keys.by_operator);
    if by_device + by_operator > 0 {
        let keys = count(by_device + by_operator, "replaced key");
        text.push_str(&format!(
            "  {keys}: {} by successions of devices, {} by the operator alone\n",
            number(by_device),
            number(by_operator)
        ));
    }
    for witness in &checked.witnesses {
        let size = witness.size.map_or_else(String::new, |size| format!(", size {size}"));
        text.push_str(&format!("  witness {}: {}{size}\n", name(&witness.name), witness.state.name()));
    }
    text.push_str(&finding_lines(&checked.findings));
    if checked.findings.is_empty() && checked.found.is_some() {
        text.push_str("  an acknowledged finding holds again in this round; see --findings\n");
    }
    text
}

fn finding_lines(findings: &[MonitorFinding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let MonitorFinding { id, class, code, message, first_ms, times, acknowledged_ms, .. } = finding;
        let style = if *class == FindingClass::Tamper { BAD } else { CARE };
        let since = to_rfc3339(*first_ms);
        text.push_str(&format!(
            "{id:>4}  {style}{class:<12} {code}{style:#}  since {since}, {}",
            count(*times, "time")
        ));
        if let Some(at) = acknowledged_ms {
            text.push_str(&format!(", acknowledged {}", to_rfc3339(*at)));
        }
        text.push_str(&format!("\n      {}\n", shown(message)));
    }
    text
}

async fn list(findings: &MonitorFindings, output: &Output) -> Result<Exit, Failure> {
    let all = findings.list(true).await?;
    let is_open = all.iter().any(|finding| finding.acknowledged_ms.is_none());
    let content = json!({ "findings": all.iter().map(finding_content).collect::<Vec<_>>() });
    let text = if all.is_empty() { "no findings\n".to_owned() } else { finding_lines(&all) };
    output.answer(&Answer { ok: !is_open, name: "monitor", content: &content, text, failure: None })?;
    Ok(if is_open { Exit::Findings } else { Exit::Holds })
}

async fn acknowledge(findings: &MonitorFindings, id: u64, output: &Output) -> Result<Exit, Failure> {
    if !findings.acknowledge(id).await? {
        let message = format!("no open finding has the number {id}; see eds monitor --findings");
        return Err(Failure::usage("finding_not_found", message));
    }
    let content = json!({ "acknowledged": id });
    let text = format!("finding {id} is acknowledged\n");
    output.answer(&Answer { ok: true, name: "monitor", content: &content, text, failure: None })?;
    Ok(Exit::Holds)
}

async fn write_evidence(
    findings: &MonitorFindings,
    directory: &Path,
    output: &Output,
) -> Result<Exit, Failure> {
    let evidence = findings.evidence().await?;
    std::fs::create_dir(directory).map_err(|error| {
        Failure::unfinished("io", format!("{}: cannot make the directory: {error}", directory.display()))
    })?;
    let mut names = Vec::new();
    for (id, file, bytes) in evidence {
        let file = format!("{id}-{file}");
        Destination::of("evidence", &directory.join(&file))?.write(Readers::Umask, &bytes).map_err(
            |error| {
                Failure::unfinished("io", format!("{}: cannot write {file}: {error}", directory.display()))
            },
        )?;
        names.push(file);
    }
    let content = json!({ "files": names });
    let text = if names.is_empty() { "no evidence\n".to_owned() } else { format!("{}\n", names.join("\n")) };
    output.answer(&Answer { ok: true, name: "monitor", content: &content, text, failure: None })?;
    Ok(Exit::Holds)
}
