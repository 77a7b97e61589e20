//! `eds update verify`.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::{AuditRecord, Device, Scheme};
use edgesentry_formats::times::{clock_ms, parse_unix_ms};
use edgesentry_formats::{Destination, Destinations, Readers, UpdateStateFile, describe, read_update_trust};
use edgesentry_rs::agent::Outbox;
use edgesentry_update::{
    Admitted, Image, MAX_MANIFEST_BYTES, Manifest, Refusal, SignedManifest, State, Trust, Trusted, Verified,
    audit_payload,
};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{manifest_json, manifest_text, refused, state_json};
use crate::commands::{device_id, scheme};
use crate::exit::{Exit, Failure};
use crate::inputs;
use crate::keys::KeyArgs;
use crate::output::{Answer, Output};
use crate::outputs::{self, cannot_write};
use crate::record_json::RecordJson;
use crate::text::count;
use crate::threads;

/// The largest trust that is read.
const MAX_TRUST_BYTES: usize = 64 << 10;

/// Verify a manifest and an image as a device does: publishers, product, expiry, version, size and hash
///
/// The image is read once, in pieces. Without --state the version is not compared with that of a device. With --accept
/// the state then remembers the update, durably, so that the device refuses older versions; start the image after that.
///
/// With --outbox the device signs a record of the accepted or refused update, before the state changes. If the command is
/// interrupted in between, its next run completes the state, and the record is signed once.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds update verify firmware.manifest firmware.bin --trust publishers.json
  eds update verify firmware.manifest firmware.bin --trust publishers.json \\
      --state update.state --accept
  eds update verify firmware.manifest firmware.bin --trust publishers.json \\
      --state update.state --accept --outbox door-01.outbox --device door-01 --key door-01.seed
  eds update verify firmware.manifest firmware.bin --trust publishers.json \\
      --state update.state --accept --outbox door-01.outbox --device door-01 \\
      --key 'pkcs11:token=site-7;object=door-01' --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin")]
pub(super) struct Verify {
    /// The manifest; - is stdin
    #[arg(value_name = "MANIFEST")]
    manifest: PathBuf,
    /// The image; - is stdin
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// The publishers that the device trusts: JSON with name, threshold and keys; - is stdin
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// The update state of the device
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Remember the update in the state
    #[arg(long, requires = "state")]
    accept: bool,
    /// The time to compare the expiry with: 2027-06-30T00:00:00Z, or Unix milliseconds [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_unix_ms)]
    now: Option<u64>,
    /// Write the payload of a record about the outcome, for eds sign-record
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    #[command(flatten)]
    chain: ChainArgs,
}

/// The chain of the device, for the record of the update.
#[derive(Args, Debug)]
struct ChainArgs {
    /// Sign a record of the outcome into this outbox of the device; created if it is missing
    #[arg(long, value_name = "FILE", requires_all = ["device", "accept"])]
    outbox: Option<PathBuf>,
    /// The device of the outbox
    #[arg(long, value_name = "ID", requires = "outbox", value_parser = device_id)]
    device: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
    /// Its signature scheme: record, or payload-hash for older devices
    #[arg(
        long, value_parser = scheme(), hide_possible_values = true, default_value = "record", requires = "outbox"
    )]
    scheme: Scheme,
}

/// An open outbox, and the runtime that it needs.
struct Chain {
    runtime: Runtime,
    outbox: Outbox,
}

impl ChainArgs {
    fn open(&self) -> Result<Option<Chain>, Failure> {
        let (Some(path), Some(device)) = (&self.outbox, &self.device) else {
            if self.key.is_given() {
                return Err(Failure::usage(
                    "usage",
                    "--key and --signer sign a record: pass --outbox as well",
                ));
            }
            return Ok(None);
        };
        let device = Device::from_signer(device.as_str(), self.key.open()?, self.scheme);
        let runtime = threads::runtime()?;
        let outbox = runtime.block_on(Outbox::open(path, device))?;
        Ok(Some(Chain { runtime, outbox }))
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.runtime.block_on(self.outbox.close());
    }
}

/// The update state: opened to accept, or read.
enum Kept {
    Opened(UpdateStateFile),
    Read(State),
    None,
}

impl Kept {
    fn state(&self) -> Option<&State> {
        match self {
            Kept::Opened(file) => Some(file.state()),
            Kept::Read(state) => Some(state),
            Kept::None => None,
        }
    }
}

impl Verify {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        inputs::refuse_second_stdin([&self.manifest, &self.image, &self.trust])?;
        let audit = self.audit()?;
        let trust = trust(&self.trust)?;
        let mut kept = match &self.state {
            Some(path) if self.accept => Kept::Opened(UpdateStateFile::open(path)?),
            Some(path) => Kept::Read(UpdateStateFile::read(path)?),
            None => Kept::None,
        };
        let chain = self.chain.open()?;
        if let (Some(Chain { runtime, outbox }), Kept::Opened(file)) = (&chain, &mut kept) {
            runtime.block_on(outbox.complete_update(file))?;
        }
        let parsed = SignedManifest::parse(&inputs::start(&self.manifest, MAX_MANIFEST_BYTES)?);
        let admitted = parsed
            .as_ref()
            .map_err(Clone::clone)
            .and_then(|signed| trust.check(signed))
            .and_then(|trusted| self.admit(&trust, &kept, trusted));
        let verified = match admitted {
            Ok(admitted) => self.read_image(admitted.image())?,
            Err(refusal) => Err(refusal),
        };
        let manifest = parsed.as_ref().ok().map(SignedManifest::manifest);
        // Payload and record come before the state, so that no accepted update lacks them.
        match verified {
            Ok(verified) => {
                self.write_audit(audit.as_ref(), manifest, Ok(()))?;
                let record = accept(&mut kept, &verified, chain.as_ref())?;
                self.answer(output, &verified, &kept, record.as_ref())
            }
            Err(refusal) => {
                self.write_audit(audit.as_ref(), manifest, Err(&refusal))?;
                let mut failure = refused(&self.manifest, &refusal);
                if let Some(Chain { runtime, outbox }) = &chain {
                    let record = runtime.block_on(outbox.refuse_update(manifest, &refusal, clock()?));
                    let record = record.map_err(|error| {
                        let failure = Failure::from(error);
                        Failure {
                            message: format!("{}; the update was refused: {refusal}", failure.message),
                            ..failure
                        }
                    })?;
                    failure.message.push_str(&match record {
                        Some(record) => format!("; sequence {} of the device records it", record.sequence),
                        None => {
                            "; the outbox has no room for its record: the next one of a refusal counts it"
                                .to_owned()
                        }
                    });
                }
                Err(failure)
            }
        }
    }

    fn audit(&self) -> Result<Option<Destination>, Failure> {
        let Some(path) = &self.audit else { return Ok(None) };
        let mut destinations = Destinations::default();
        let files = [
            ("the manifest", Some(&self.manifest)),
            ("the image", Some(&self.image)),
            ("the trust", Some(&self.trust)),
            ("the update state", self.state.as_ref()),
            ("the outbox", self.chain.outbox.as_ref()),
            ("the seed file", self.chain.key.file()),
        ];
        outputs::read(&mut destinations, files);
        let destination = destinations.place("--audit", path)?;
        if destination.is_stdout() {
            let message = "--audit writes a file, and stdout has the result; pass a file name";
            return Err(Failure::usage("usage", message));
        }
        Ok(Some(destination))
    }

    fn admit(&self, trust: &Trust, kept: &Kept, trusted: Trusted) -> Result<Admitted, Refusal> {
        let now_ms = self.now.or_else(clock_ms).unwrap_or(0);
        match kept.state() {
            Some(state) => state.admit(trusted, now_ms),
            // A state that accepts every version.
            None => match State::new(trust.name()) {
                Ok(state) => state.admit(trusted, now_ms),
                Err(error) => Err(Refusal::Malformed(error.to_string())),
            },
        }
    }

    /// Reads the image; the outer error is a failure to read it.
    fn read_image(&self, mut image: Image) -> Result<Result<Verified, Refusal>, Failure> {
        let failed = |error: std::io::Error| {
            let path = self.image.display();
            Failure::usage("file_unreadable", format!("{path}: cannot read: {error}"))
        };
        let mut reader: Box<dyn Read> = if inputs::is_stdin(&self.image) {
            Box::new(std::io::stdin().lock())
        } else {
            Box::new(File::open(&self.image).map_err(failed)?)
        };
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = match reader.read(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                read => read.map_err(failed)?,
            };
            if read == 0 {
                return Ok(image.finish());
            }
            if let Err(refusal) = image.write(&buffer[..read]) {
                return Ok(Err(refusal));
            }
        }
    }

    fn write_audit(
        &self,
        audit: Option<&Destination>,
        manifest: Option<&Manifest>,
        outcome: Result<(), &Refusal>,
    ) -> Result<(), Failure> {
        let (Some(destination), Some(path)) = (audit, &self.audit) else { return Ok(()) };
        let payload = audit_payload(manifest, outcome);
        destination.write(Readers::Umask, payload.as_bytes()).map_err(|error| cannot_write(path, &error))
    }

    fn answer(
        &self,
        output: &Output,
        verified: &Verified,
        kept: &Kept,
        record: Option<&AuditRecord>,
    ) -> Result<Exit, Failure> {
        let manifest = verified.manifest();
        let content = json!({
            "manifest": manifest_json(manifest),
            "signatures": verified.signatures(),
            "state": kept.state().map(state_json),
            "accepted": matches!(kept, Kept::Opened(_)),
            "record": record.map(RecordJson::from),
        });
        let mut text = manifest_text(manifest);
        let publishers = count(verified.signatures() as u64, "trusted publisher");
        text.push_str(&format!("manifest and image are valid, signed by {publishers}\n"));
        text.push_str(match kept {
            Kept::Opened(_) => "the update state remembers the update; the image may be started\n",
            Kept::Read(_) => "the update state accepts the version; it was not changed\n",
            Kept::None => "not checked: the version against a device (no --state)\n",
        });
        if let Some(record) = record {
            text.push_str(&format!("sequence {} of the device records it\n", record.sequence));
        }
        output.answer(&Answer { ok: true, name: "update", content: &content, text, failure: None })?;
        Ok(Exit::Holds)
    }
}

/// Accepts the update in an opened state, after its record if there is an outbox.
fn accept(
    kept: &mut Kept,
    verified: &Verified,
    chain: Option<&Chain>,
) -> Result<Option<AuditRecord>, Failure> {
    match (kept, chain) {
        (Kept::Opened(file), Some(Chain { runtime, outbox })) => {
            Ok(Some(runtime.block_on(outbox.accept_update(file, verified, clock()?))?))
        }
        (Kept::Opened(file), None) => {
            file.accept(verified)?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

/// The time of a record.
fn clock() -> Result<u64, Failure> {
    clock_ms().ok_or_else(|| Failure::unfinished("clock", "the system clock is before 1970; set it"))
}

fn trust(path: &Path) -> Result<Trust, Failure> {
    let json = inputs::start(path, MAX_TRUST_BYTES)?;
    if json.len() > MAX_TRUST_BYTES {
        let message = format!("{}: more than {MAX_TRUST_BYTES} bytes, which is the limit", path.display());
        return Err(Failure::usage("update_trust", message));
    }
    read_update_trust(&json)
        .map_err(|error| Failure::usage("update_trust", format!("{}: {}", path.display(), describe(&error))))
}
