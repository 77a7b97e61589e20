//! `eds inject`: attacks on a running service, and whether each got the expected response.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use bytes::Bytes;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgesentry_chain::{Device, Scheme};
use edgesentry_rs::Submission;
use edgesentry_rs::agent::sign;
use edgesentry_rs::transport::{Client, Response};
use serde::Serialize;
use serde_json::{Value, json};

use crate::attacks::{ATTACKS, Attack, Victim};
use crate::commands::push::ReachArgs;
use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output};
use crate::random;
use crate::text::number;
use crate::threads;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Attack a running service over the network, and check its response to each attack
///
/// Registers test devices, which requires a token with the scope admin, sends valid records, then the attacks,
/// and after each attack a valid record again: no attack may block valid records. If the service exports
/// metrics, the counter of the reason must have increased. The command leaves its devices and records in the
/// ledger; do not run it against a production ledger. Several services are attacked concurrently, each with its
/// own devices. Exit code 0 if every attack had the expected response, 1 if any had another one, 3 if the service
/// could not be reached.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds inject --url http://127.0.0.1:8080 --token-file admin.token
  eds inject --url http://127.0.0.1:8080 --token-file admin.token \\
      --attack bad-signature --count 30 --rate 10
  eds inject --url https://node-1:8443 --url https://node-2:8443 --token-file admin.token")]
pub(crate) struct Inject {
    /// The service: http://HOST:PORT or https://HOST:PORT; may be given several times, for the nodes of one
    /// ledger or for separate services
    #[arg(long, value_name = "URL", required = true)]
    url: Vec<String>,
    #[command(flatten)]
    reach: ReachArgs,
    /// Only this attack; may be given several times [default: all]
    #[arg(long, value_name = "NAME", value_parser = attack(), hide_possible_values = true)]
    attack: Vec<&'static Attack>,
    /// Number of times that each attack is sent
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Maximum number of attacks per second [default: as fast as the service responds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
}

fn attack() -> impl TypedValueParser<Value = &'static Attack> {
    let names = ATTACKS.iter().map(|attack| attack.name);
    let unknown = || "unknown attack";
    PossibleValuesParser::new(names).try_map(move |name| Attack::by_name(&name).ok_or_else(unknown))
}

/// The result of one kind of attack.
#[derive(Serialize, Clone)]
struct Injected {
    service: String,
    attack: &'static str,
    what: &'static str,
    expected_status: u16,
    expected_code: &'static str,
    sent: u32,
    answered_rightly: u32,
    /// The first unexpected response.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
    /// The increase of the reason's counter; none if it is not counted or not readable.
    counted: Option<u64>,
    /// Whether a good record was accepted after each.
    unharmed: bool,
}

impl Injected {
    fn holds(&self) -> bool {
        let counted = self.counted.is_none_or(|counted| counted >= u64::from(self.sent));
        self.answered_rightly == self.sent && counted && self.unharmed
    }
}

impl Inject {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let clients =
            self.url.iter().map(|url| self.reach.client(url)).collect::<Result<Vec<_>, Failure>>()?;
        let runtime = threads::runtime()?;
        let attacked = futures::future::try_join_all(clients.iter().map(|client| self.inject(client)));
        let results = runtime.block_on(attacked)?.concat();
        let ok = results.iter().all(Injected::holds);
        let mut text = String::new();
        for (at, result) in results.iter().enumerate() {
            let begins = at == 0 || results[at - 1].service != result.service;
            if begins && self.url.len() > 1 {
                text.push_str(&format!("{}\n", result.service));
            }
            let (style, verdict) = if result.holds() { (GOOD, "ok   ") } else { (BAD, "WRONG") };
            let counted =
                result.counted.map_or_else(String::new, |counted| format!(", counted {}", number(counted)));
            text.push_str(&format!(
                "{style}{verdict}{style:#}  {:<16} {} {:<22} {} of {}{counted}  {}\n",
                result.attack,
                result.expected_status,
                result.expected_code,
                number(result.answered_rightly.into()),
                number(result.sent.into()),
                result.what
            ));
            if let Some(wrong) = &result.wrong {
                text.push_str(&format!("       got {wrong}\n"));
            }
            if !result.unharmed {
                text.push_str("       and the valid record after it was not accepted\n");
            }
        }
        output.answer(&Answer { ok, name: "inject", content: &results, text, failure: None })?;
        Ok(if ok { Exit::Holds } else { Exit::Findings })
    }

    async fn inject(&self, client: &Client) -> Result<Vec<Injected>, Failure> {
        let mut seed = [0_u8; 4];
        random::fill(&mut seed)?;
        let run = hex::encode(seed);
        let other = register(client, &format!("inject-{run}-other")).await?;
        let attacks: Vec<&Attack> =
            if self.attack.is_empty() { ATTACKS.iter().collect() } else { self.attack.clone() };
        let pause = self.rate.map(|rate| Duration::from_secs(1) / rate);
        let mut ticks = pause.map(tokio::time::interval);
        let mut results = Vec::new();
        for attack in attacks {
            let device = register(client, &format!("inject-{run}-{}", attack.name)).await?;
            let mut victim = Good::begin(device, other.device_id());
            victim.send(client).await?;
            let before = counter(client, attack).await;
            let mut result = Injected {
                service: client.url().to_owned(),
                attack: attack.name,
                what: attack.what,
                expected_status: attack.status,
                expected_code: attack.code,
                sent: 0,
                answered_rightly: 0,
                wrong: None,
                counted: None,
                unharmed: true,
            };
            for _ in 0..self.count {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                let body = (attack.body)(&victim.0);
                let response = client.request("POST", "api/v1/ingest", Some(body)).await?;
                result.sent += 1;
                let (status, code) = (response.status, code_of(&response));
                if (status, code.as_str()) == (attack.status, attack.code) {
                    result.answered_rightly += 1;
                } else {
                    result.wrong.get_or_insert(format!("{status} {code}"));
                }
            }
            result.unharmed = victim.send(client).await.is_ok();
            let after = counter(client, attack).await;
            result.counted = before.zip(after).map(|(before, after)| after.saturating_sub(before));
            results.push(result);
        }
        Ok(results)
    }
}

/// A device that sends good records.
struct Good(Victim);

impl Good {
    fn begin(device: Device, other: &str) -> Good {
        let last = Submission {
            record: Arc::new(edgesentry_chain::AuditRecord {
                device_id: device.device_id().to_owned(),
                sequence: 0,
                timestamp_ms: 0,
                payload_hash: edgesentry_chain::Hash::ZERO,
                signature: [0; 64],
                prev_record_hash: edgesentry_chain::Hash::ZERO,
                object_ref: String::new(),
            }),
            payload: Bytes::new(),
        };
        Good(Victim { device, last, other: other.to_owned() })
    }

    async fn send(&mut self, client: &Client) -> Result<(), Failure> {
        let victim = &mut self.0;
        let sequence = victim.last.record.sequence + 1;
        let object_ref = format!("{}/{sequence}.bin", victim.device.device_id());
        let payload = Bytes::from(format!("what happened {sequence}"));
        let mut device = victim.device.clone();
        let record = sign(&mut device, 1_700_000_000_000 + sequence, &payload, object_ref);
        let record = record.map_err(|error| Failure::unfinished("chain_full", error.to_string()))?;
        let submission = Submission { record: Arc::new(record), payload };
        let outcome = client.ingest(submission.clone()).await?;
        if outcome != edgesentry_rs::Outcome::Accepted {
            let message = format!("a valid record had the outcome {outcome:?}");
            return Err(Failure::unfinished("good_record_refused", message));
        }
        (victim.device, victim.last) = (device, submission);
        Ok(())
    }
}

async fn register(client: &Client, device_id: &str) -> Result<Device, Failure> {
    let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
    random::fill(&mut seed[..])?;
    let device = Device::from_seed(device_id, *seed, Scheme::Record);
    let key = device.public_key().map_err(|error| Failure::unfinished("keys", error.to_string()))?;
    let body = json!({ "device_id": device_id, "key": key.to_string(), "scheme": "record" });
    let response = client.request("POST", "api/v1/devices", Some(body.to_string().into_bytes())).await?;
    match response.status {
        200 => Ok(device),
        status => {
            let what = format!(
                "{}: cannot register devices to attack with ({status} {})",
                client.url(),
                code_of(&response)
            );
            Err(match status {
                401 | 403 => Failure::usage("not_admin", format!("{what}; use a token with the scope admin")),
                _ => Failure::unfinished("service", what),
            })
        }
    }
}

/// Returns the code of a problem, or the outcome.
fn code_of(response: &Response) -> String {
    let body: BTreeMap<String, Value> = serde_json::from_slice(&response.body).unwrap_or_default();
    let code = body.get("code").or_else(|| body.get("outcome")).and_then(Value::as_str);
    code.unwrap_or("without a code").to_owned()
}

/// Returns the number of rejections with the attack's reason that the service has counted.
async fn counter(client: &Client, attack: &Attack) -> Option<u64> {
    if !attack.is_rejection() {
        return None;
    }
    let response =
        client.request("GET", "metrics", None).await.ok().filter(|response| response.status == 200)?;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    let series = format!("edgesentry_ingest_rejected_total{{reason=\"{}\"}}", attack.code);
    let line = text.lines().find_map(|line| line.strip_prefix(&series))?;
    line.trim().parse::<f64>().ok().map(|value| value as u64)
}
