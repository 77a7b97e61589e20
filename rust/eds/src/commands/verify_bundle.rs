//! `eds verify-bundle`: verifies an evidence bundle, offline.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgesentry_chain::{InputKind, Level, ProvidedBy, Providers, Scheme};
use edgesentry_formats::{BundleInputs, read_tsa_roots, times};

use crate::commands::verify_chain::{conclude, uncovered};
use crate::commands::{scheme, verify_proof};
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Running};
use crate::output::Output;

/// Verify an evidence bundle, offline: records, signatures, heads, and the checkpoint that commits to them
///
/// The policy and the keys must come from you, not from the party that made the bundle. Without them, those in the
/// bundle are used: the report then shows that the bundle agrees with itself, and states this.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds verify-bundle case.tar --policy policy --keys keys.json
  eds verify-bundle case.tar --policy policy --keys keys.json --require signatures,log --json
  eds verify-bundle case.tar --policy policy --keys keys.json --previous checkpoint-of-may
  ssh archive cat case.tar | eds verify-bundle - --policy policy --keys keys.json")]
pub(crate) struct VerifyBundle {
    /// The bundle; - is stdin
    #[arg(value_name = "FILE")]
    bundle: PathBuf,
    /// Policy with the logs, witnesses and quorum that you trust
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Key ring: the keys of the devices that you trust
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Signature scheme of keys for which the key ring states none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme(), hide_possible_values = true, requires = "keys")]
    scheme: Option<Scheme>,
    /// Checkpoint of the same log that you kept from earlier: the log must continue it
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Refuse a checkpoint whose witnesses signed it longer ago, such as 90s, 15m, 24h or 7d
    #[arg(long, value_name = "TIME", value_parser = times::parse_seconds)]
    max_age: Option<u64>,
    /// Certificates in PEM: the roots of the time stamping authorities that you trust. Without them, the time stamps
    /// in the bundle are not verified
    #[arg(long, value_name = "FILE")]
    tsa_roots: Option<PathBuf>,
    /// Levels that must be verified in full: signatures with --keys, payloads, log with --policy. If one is not, the
    /// command exits with 2, or with 1 if there are findings
    #[arg(long, value_name = "LEVELS", value_delimiter = ',', value_parser = levels())]
    #[arg(hide_possible_values = true)]
    require: Vec<Level>,
    #[command(flatten)]
    running: Running,
}

fn levels() -> impl TypedValueParser<Value = Level> {
    let names = [Level::Signatures, Level::Payloads, Level::Log].map(Level::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Level>())
}

impl VerifyBundle {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        self.refuse_missing_inputs()?;
        let files = [Some(&self.bundle), self.policy.as_ref(), self.previous.as_ref()];
        inputs::refuse_second_stdin(files.into_iter().flatten())?;
        let policy = self.policy.as_deref().map(verify_proof::policy).transpose()?;
        let keys = self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let previous = self.previous.as_deref().map(verify_proof::checkpoint).transpose()?;
        let tsa_roots = self.tsa_roots.as_deref().map(read_tsa_roots).transpose();
        let tsa_roots = tsa_roots.map_err(|error| Failure::usage("log_inputs", error.to_string()))?;
        let inputs = BundleInputs {
            policy: policy.as_ref(),
            keys: keys.as_ref(),
            claimed_keys: None,
            previous: previous.as_ref().map(|(note, _)| note),
            max_age: self.max_age.map(inputs::max_age).transpose()?,
            tsa_roots: tsa_roots.as_ref(),
        };
        let source = inputs::source(&self.bundle);
        let report = self.running.run(|options, progress| {
            edgesentry_formats::verify_bundle(source, &inputs, options, progress)
        })??;
        let uncovered = uncovered(&self.require, &report.coverage);
        conclude(output, &report, uncovered)
    }

    /// Reports a level without its input, before anything is read.
    fn refuse_missing_inputs(&self) -> Result<(), Failure> {
        let mut providers = Providers::new();
        for (kind, is_given) in [
            (InputKind::Keys, self.keys.is_some()),
            (InputKind::Policy, self.policy.is_some()),
            (InputKind::Payloads, true),
        ] {
            if is_given {
                providers.entry(kind).or_default().insert(ProvidedBy::Auditor);
            }
        }
        let missing = edgesentry_chain::missing_inputs(&self.require, &providers);
        let Some(missing) = missing.first() else { return Ok(()) };
        let level = missing.level;
        let option = if level == Level::Log { "--policy FILE" } else { "--keys FILE" };
        let message = format!("--require {level} needs {option}; nothing was read");
        Err(Failure::usage("required_input_missing", message))
    }
}
