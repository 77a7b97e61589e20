//! `--require`: levels that must be covered in full, by the auditor's own inputs.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgesentry_chain::{Coverage, Level, MissingInput, Providers, missing_inputs, require};

use crate::exit::Failure;

/// Parses the name of a level that can be required.
pub(super) fn level() -> impl TypedValueParser<Value = Level> {
    PossibleValuesParser::new(Level::REQUIRABLE.iter().map(|level| level.name()))
        .try_map(|name| name.parse::<Level>())
}

/// Reports a level without its input, before anything is read.
pub(super) fn missing(required: &[Level], providers: &Providers, in_place: bool) -> Option<Failure> {
    let MissingInput { level, claimed_by } = missing_inputs(required, providers).into_iter().next()?;
    let option = match level {
        Level::Signatures => "--keys FILE",
        Level::Payloads if in_place => "--payload-store",
        Level::Payloads => "--payloads DIR",
        Level::Log => "--checkpoint FILE and --policy FILE",
        _ => "--heads FILE",
    };
    let claim = claimed_by.map_or_else(String::new, |by| format!("{by} provides only a claim; "));
    let message = format!("--require {level} needs {option}; {claim}nothing was read");
    Some(Failure::usage("required_input_missing", message))
}

/// Reports the required levels that were not covered.
pub(in crate::commands) fn uncovered(required: &[Level], coverage: &Coverage) -> Option<Failure> {
    let gaps: Vec<String> = require(required, coverage).iter().map(ToString::to_string).collect();
    if gaps.is_empty() {
        return None;
    }
    let message = format!("not everything that --require names was covered: {}", gaps.join("; "));
    Some(Failure::usage("required_not_covered", message))
}
