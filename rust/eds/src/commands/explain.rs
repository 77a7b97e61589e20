//! `eds explain`: the meaning of a finding.

use std::fmt::Write;

use anstyle::Style;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgesentry_chain::FindingCode;
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::explanations::explanation;
use crate::output::{Answer, Output};

const BOLD: Style = Style::new().bold();

/// Explain a finding: the check, the usual causes and what to do
///
/// Without a code it lists all codes, each with its level.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds explain signature_invalid
  eds explain                      all codes")]
pub(crate) struct Explain {
    /// The code of the finding, as reports show it
    #[arg(value_name = "CODE", value_parser = code(), hide_possible_values = true)]
    code: Option<FindingCode>,
}

/// Parses a code; the help does not list them all.
fn code() -> impl TypedValueParser<Value = FindingCode> {
    let names = FindingCode::ALL.iter().map(|code| code.name());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<FindingCode>())
}

impl Explain {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let Some(code) = self.code else { return list(output) };
        let text = explanation(code);
        let mut content = described(code);
        content["text"] = Value::from(text.as_str());
        let text = format!("{BOLD}{code}{BOLD:#}: {}\n\n{text}\n", code.summary());
        output.answer(&Answer { ok: true, name: "finding", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

fn list(output: &Output) -> Result<Exit, Failure> {
    let mut text = String::new();
    for code in FindingCode::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{BOLD}{code:<26}{BOLD:#}{:<12}{}", code.level().name(), code.summary());
    }
    let content: Vec<Value> = FindingCode::ALL.iter().map(|code| described(*code)).collect();
    output.answer(&Answer { ok: true, name: "findings", content: &content, text, failure: None })?;
    Ok(Exit::Holds)
}

fn described(code: FindingCode) -> Value {
    json!({"code": code, "level": code.level(), "summary": code.summary(), "url": code.url()})
}
