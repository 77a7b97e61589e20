//! `eds drill verify-report`: whether the signature of a report is valid.

use std::path::PathBuf;

use clap::Args;
use edgesentry_ops::drill::signed::{self, Signature};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::inputs::{self, public_key};
use crate::output::{Answer, Output};
use crate::text::sentence;

/// Verify that the report of a drill is signed with a key and unchanged
///
/// The signature of NAME.json is NAME.json.sig next to it, an audit record of the device edgesentry-drill-report whose
/// payload is the report: eds verify-record verifies it too. Exit code 1 if it is missing or not valid.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds drill verify-report drills/db-failover-2026-11-24T043000Z.json --public-key d75a98…511a")]
pub(super) struct VerifyReport {
    /// The report, from --report-dir of the drills
    #[arg(value_name = "REPORT")]
    report: PathBuf,
    /// The public key of operations
    #[arg(long, alias = "key", value_name = "HEX")]
    public_key: String,
}

impl VerifyReport {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let key = public_key(&self.public_key)?;
        let bytes = inputs::bytes(&self.report, "report_unreadable")?;
        let signature = signed::check(&self.report, &bytes, Some(&key))?;
        let ok = signature == Signature::Valid;
        let file = self.report.display().to_string();
        let verdict = if ok { "VALID" } else { "NOT VALID" };
        let text = format!("{verdict}  {}: signature {signature}\n", sentence(&file));
        let content = json!({"file": file, "valid": ok, "signature": signature.to_string()});
        output.answer(&Answer { ok, name: "report", content: &content, text, failure: None })?;
        Ok(if ok { Exit::Holds } else { Exit::Findings })
    }
}
