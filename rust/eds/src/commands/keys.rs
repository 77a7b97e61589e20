//! `eds keys`: key rings.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use edgesentry_chain::Scheme;
use edgesentry_formats::{Destinations, Followed, follow_keys};
use serde_json::{Value, json};

use crate::commands::scheme;
use crate::envelope::terminal_safe;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Showing};
use crate::output::{Answer, Output};
use crate::outputs::save;
use crate::text::{count, name, shown};

/// Update key rings
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds keys follow export.json --keys first.json -o keys.json")]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
}

/// What to do with a key ring.
#[derive(Subcommand, Debug)]
enum Action {
    Follow(Follow),
}

/// Add the successor keys that devices have announced in their records, beginning with first keys that you trust
///
/// A device replaces its key with a record that the old key signs. The command reads the files once, in order, and
/// writes the key ring that verify-chain --keys takes. It adds no key of a device that the ring does not have, and
/// replaces none. Exit code 1 if a succession does not hold or contradicts the ring; nothing is written then.
///
/// The command verifies successions only: verify the same files with the new ring, and with heads or a checkpoint. An
/// attacker who has stolen a key can also announce a successor.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds keys follow export.json --keys first.json -o keys.json
  eds verify-chain export.json --keys keys.json --heads heads.json")]
struct Follow {
    /// Exports to read, in order; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Key ring with the first key of each device
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true)]
    scheme: Option<Scheme>,
    /// File to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    showing: Showing,
}

impl Keys {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match &self.action {
            Action::Follow(follow) => follow.run(output),
        }
    }
}

impl Follow {
    fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let mut destinations = Destinations::default();
        for file in &self.files {
            destinations.read("an input", file);
        }
        destinations.read("the key ring", &self.keys);
        let place = self.output.as_ref();
        let place = place.map(|path| Ok::<_, Failure>((path, destinations.place("--output", path)?)));
        let place = place.transpose()?.filter(|(_, destination)| !destination.is_stdout());
        inputs::refuse_second_stdin(self.files.iter().chain([&self.keys]))?;
        let ring = inputs::key_ring(&self.keys, self.scheme)?;
        let sources = inputs::sources(&self.files)?;
        let followed = self.showing.show(|progress| follow_keys(sources, ring, progress))?;
        let ring = edgesentry_formats::write_key_ring(&followed.ring);
        let is_good = followed.refused_total == 0;
        let text = match place {
            _ if !is_good => String::new(),
            Some((path, destination)) => {
                save(&destination, path, &ring)?;
                note(output, path, &followed);
                String::new()
            }
            None => format!("{}\n", terminal_safe(ring.trim_end())),
        };
        let content = content(&followed, is_good.then_some(ring.as_str()))?;
        let failure = (!is_good).then(|| Failure {
            code: "succession_invalid",
            message: refusal(&followed),
            exit: Exit::Findings,
        });
        let exit = if is_good { Exit::Holds } else { Exit::Findings };
        output.answer(&Answer { ok: is_good, name: "keys", content: &content, text, failure })?;
        Ok(exit)
    }
}

fn note(output: &Output, path: &Path, followed: &Followed) {
    let keys = count(followed.keys.len() as u64, "succession");
    output.note(&format!("{}: key ring with {keys} written", path.display()));
}

fn content(followed: &Followed, ring: Option<&str>) -> Result<Value, Failure> {
    let wrong = |error: serde_json::Error| Failure::unfinished("json", error.to_string());
    let ring: Value = ring.map_or(Ok(Value::Null), serde_json::from_str).map_err(wrong)?;
    let keys: Vec<Value> = followed
        .keys
        .iter()
        .map(|((device_id, valid_from), key)| {
            json!({
                "device_id": device_id,
                "key": key.key.to_string(),
                "scheme": key.scheme,
                "valid_from": valid_from,
            })
        })
        .collect();
    let refused: Vec<Value> = followed
        .refused
        .iter()
        .map(|refused| {
            json!({
                "device_id": refused.device_id,
                "sequence": refused.sequence,
                "expected": refused.error.expected,
                "actual": refused.error.actual,
            })
        })
        .collect();
    Ok(json!({"ring": ring, "followed": keys, "refused": refused, "refused_total": followed.refused_total}))
}

/// Names the first refused successions.
fn refusal(followed: &Followed) -> String {
    const MAX_NAMED: usize = 5;
    let mut text = String::new();
    for refused in followed.refused.iter().take(MAX_NAMED) {
        let _ = write!(
            text,
            "{}, sequence {}: expected {}, found {}; ",
            name(&refused.device_id),
            refused.sequence,
            shown(&refused.error.expected),
            shown(&refused.error.actual)
        );
    }
    let refused = count(followed.refused_total, "succession");
    text + &format!(
        "{refused} refused and no key ring written: compare the keys with the owners of the devices"
    )
}
