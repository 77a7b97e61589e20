//! `eds heads`: the snapshot that `--heads` later checks.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::{Checks, Report, Scheme, Verdict};

use crate::commands::scheme;
use crate::envelope;
use crate::exit::{Exit, Failure};
use crate::inputs::{self, Running};
use crate::output::{Answer, Output};
use crate::text::{count, number};

/// Write the heads of an export: the last sequence and hash of each chain
///
/// Keep the snapshot where nobody who can change the ledger can change it. Later exports are then checked
/// against it with eds verify-chain --heads, which finds chains cut off and devices left out.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds heads export.json -o heads.json
  eds heads export.json --keys keys.json -o heads.json      refuse bad signatures as well
  eds verify-chain next-export.json --heads heads.json")]
pub(crate) struct WriteHeads {
    /// Exports to read, in order; - is stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Where to write the snapshot [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Key ring: check the signatures too before writing
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Scheme of keys that name none: payload-hash or record [default: payload-hash]
    #[arg(long, value_parser = scheme, requires = "keys")]
    scheme: Option<Scheme>,
    /// Heads after which the chains must begin, for an export that starts mid-chain
    #[arg(long, value_name = "FILE")]
    start_heads: Option<PathBuf>,
    /// Write the snapshot even where the chains do not hold
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    running: Running,
}

impl WriteHeads {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let keys = self.keys.as_deref().map(|path| inputs::key_ring(path, self.scheme)).transpose()?;
        let start_heads = self.start_heads.as_deref().map(inputs::heads).transpose()?;
        let checks = Checks { keys: keys.as_ref(), start_heads: start_heads.as_ref(), ..Checks::default() };
        let report = self.running.verify(inputs::sources(&self.files)?, &checks)?;
        if report.heads.is_empty() {
            let message = "no record in the input, so there is no head to write";
            return Err(Failure::unfinished("nothing_to_verify", message));
        }
        if report.verdict == Verdict::Findings && !self.force {
            return Err(refusal(&report));
        }
        let snapshot = edgesentry_formats::write_heads(&report.heads);
        let text = match &self.output {
            None => format!("{}\n", envelope::terminal_safe(snapshot.trim_end())),
            Some(path) => {
                replace(path, &snapshot)?;
                let heads = count(report.heads.len() as u64, "head");
                output.note(&format!("{}: {heads} written", path.display()));
                String::new()
            }
        };
        if report.verdict == Verdict::Findings {
            output.note(
                "warning: the chains do not hold; whoever trusts this snapshot trusts them as they are",
            );
        }
        output.answer(&Answer { ok: true, name: "heads", content: &report.heads, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

fn refusal(report: &Report) -> Failure {
    let counts = report.counts.iter().map(|(code, total)| format!("{code} {}", number(*total)));
    let counts: Vec<String> = counts.collect();
    let message = format!(
        "no snapshot was written, because the chains do not hold ({}) and later exports would be trusted \
         against it; see eds verify-chain for each finding, or write it all the same with --force",
        counts.join(", ")
    );
    Failure { code: "chain_broken", message, exit: Exit::Findings }
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&part)?;
        file.write_all(text.trim_end().as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&part);
        Failure::unfinished("io", format!("{}: cannot write: {error}", path.display()))
    })
}
