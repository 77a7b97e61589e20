//! `eds update`: sign the manifest of an update, and verify it as a device does.

mod sign;
mod verify;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use edgesentry_formats::{UpdateStateError, UpdateStateFile, describe};
use edgesentry_update::{MAX_MANIFEST_BYTES, Manifest, Refusal, SignedManifest, State};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::output::{Answer, Output};
use crate::text::name;

/// Sign and verify updates of devices
///
/// A manifest names an image by its hash, its version, the lowest version that devices accept after it, and its
/// expiry. A device installs an image only if enough publishers have signed its manifest.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds update sign firmware.bin --name door-controller --version 42 \\
      --expires 2027-06-30T00:00:00Z --key publisher-a.seed --output firmware.manifest
  eds update verify firmware.manifest firmware.bin --trust publishers.json \\
      --state update.state --accept")]
pub(crate) struct Update {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Sign(sign::Sign),
    AddSignature(sign::AddSignature),
    Verify(verify::Verify),
    CreateState(CreateState),
}

impl Update {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        match &self.command {
            Command::Sign(command) => command.run(output),
            Command::AddSignature(command) => command.run(output),
            Command::Verify(command) => command.run(output),
            Command::CreateState(command) => command.run(output),
        }
    }
}

/// Create the update state of a new device, which accepts every version
///
/// Never use it for a device that has a state, even a damaged one: the device would accept old versions again.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  eds update create-state update.state --name door-controller")]
struct CreateState {
    /// The file to create
    #[arg(value_name = "FILE")]
    state: PathBuf,
    /// The product of the device
    #[arg(long, value_name = "NAME", value_parser = product)]
    name: String,
}

impl CreateState {
    fn run(&self, output: &Output) -> Result<Exit, Failure> {
        UpdateStateFile::create(&self.state, &self.name)?;
        let content = json!({"file": self.state.display().to_string(), "name": self.name});
        let text =
            format!("{} accepts every version of {}\n", name(&self.state.display().to_string()), self.name);
        output.answer(&Answer { ok: true, name: "state", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

impl From<UpdateStateError> for Failure {
    fn from(error: UpdateStateError) -> Failure {
        let message = describe(&error);
        match error {
            UpdateStateError::Exists { .. } => Failure::usage("update_state_exists", message),
            UpdateStateError::Name(_) => Failure::usage("update_unusable", message),
            UpdateStateError::Io { .. } => Failure::unfinished("io", message),
            _ => Failure::unfinished("update_state", message),
        }
    }
}

/// Parses the name of a product.
fn product(text: &str) -> Result<String, &'static str> {
    if edgesentry_update::is_valid_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 128 letters, digits, '.', '_' and '-'")
    }
}

/// Reads a manifest.
fn read_manifest(path: &Path) -> Result<SignedManifest, Failure> {
    SignedManifest::parse(&inputs::start(path, MAX_MANIFEST_BYTES)?)
        .map_err(|refusal| refused(path, &refusal))
}

/// Returns the failure of an update that is refused.
fn refused(path: &Path, refusal: &Refusal) -> Failure {
    let message = format!("{}: {refusal}", name(&path.display().to_string()));
    Failure { code: refusal.code(), message, exit: Exit::Findings }
}

fn manifest_json(manifest: &Manifest) -> Value {
    json!({
        "name": manifest.name,
        "version": manifest.version,
        "image_hash": manifest.image_hash,
        "image_size_bytes": manifest.image_size_bytes,
        "minimum_version": manifest.minimum_version,
        "expires_ms": manifest.expires_ms,
    })
}

fn manifest_text(manifest: &Manifest) -> String {
    format!(
        "product          {}\nversion          {}\nimage            {} ({} bytes)\nminimum version  {}\nexpires          {}\n",
        manifest.name,
        manifest.version,
        manifest.image_hash,
        manifest.image_size_bytes,
        manifest.minimum_version,
        edgesentry_formats::times::to_rfc3339(manifest.expires_ms),
    )
}

fn state_json(state: &State) -> Value {
    json!({"version": state.version(), "minimum_version": state.minimum_version()})
}
