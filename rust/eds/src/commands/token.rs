//! `eds token`: a new token for `[serve.tokens]`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use edgesentry_serve::{Scope, hash_of_token};
use serde_json::json;
use zeroize::Zeroizing;

use crate::exit::{Exit, Failure};
use crate::output::{Answer, Output, write_stderr};
use crate::random;

/// Generate an access token: print the token to stdout, and the settings entry with its hash to stderr
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds token auditor --scope read
  TOKEN=$(eds token auditor --scope read 2>> eds.toml)
  eds token gateway --scope ingest --device lift-01 --device lift-02")]
pub(crate) struct Token {
    /// Its name in the settings
    #[arg(value_parser = name)]
    name: String,
    /// Scope of the token: ingest, read, admin, metrics; may be given several times
    #[arg(long, required = true, value_name = "SCOPE", value_parser = scope(), hide_possible_values = true)]
    scope: Vec<Scope>,
    /// With the scope ingest: only records of this device; may be given several times
    #[arg(long, value_name = "DEVICE")]
    device: Vec<String>,
}

fn scope() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(Scope::ALL.map(Scope::name)).try_map(|name| name.parse::<Scope>())
}

fn name(text: &str) -> Result<String, &'static str> {
    let plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_' || char == '-';
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("expected a name of lower-case letters, digits, - and _")
    }
}

impl Token {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let mut secret = Zeroizing::new([0_u8; 32]);
        random::fill(&mut secret[..])?;
        let token = Zeroizing::new(format!("eds_{}", hex::encode(&secret[..])));
        let hash = hash_of_token(&token).to_string();
        let scopes: Vec<&str> = self.scope.iter().map(|scope| scope.name()).collect();
        let devices = &self.device;
        let mut entry = format!("[serve.tokens.{}]\nhash = \"{hash}\"\nscopes = {scopes:?}\n", self.name);
        if !devices.is_empty() {
            entry.push_str(&format!("devices = {devices:?}\n"));
        }
        let content = json!({
            "name": self.name, "token": *token, "hash": hash, "scopes": scopes, "devices": devices,
        });
        let text = format!("{}\n", *token);
        output.answer(&Answer { ok: true, name: "token", content: &content, text, failure: None })?;
        if !output.json {
            write_stderr(&entry);
        }
        Ok(Exit::Holds)
    }
}
