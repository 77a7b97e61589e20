//! Encryption at rest with the program age (<https://age-encryption.org>): archived files are encrypted to public
//! keys, and read with an identity that the archiving servers need not have.
//!
//! A program rather than a library: it is in every distribution, supports the plugins for hardware keys that
//! operators have, and the crate of the same format would bring fifty crates and a second version of the curve.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::program;
use crate::program::NO_TIMEOUT;
use crate::settings::OpsSettings;

/// The recipients of the encryption, and the identity for decryption.
#[derive(Clone, Default, Debug)]
pub(crate) struct Encryption {
    recipients: Vec<String>,
    identity: Option<PathBuf>,
}

impl Encryption {
    /// Reads the settings.
    ///
    /// # Errors
    /// [`Error::Config`] for an invalid recipient: one that begins with `-` would be an option of the program.
    pub(crate) fn of(settings: &OpsSettings) -> Result<Encryption, Error> {
        let is_recipient = |text: &String| text.starts_with("age1") || text.starts_with("ssh-");
        if let Some(wrong) = settings.recipients.iter().find(|text| !is_recipient(text)) {
            return Err(Error::Config(format!(
                "ops.recipients: {wrong:?} is not a public key; use the public key that age-keygen -y shows: age1..."
            )));
        }
        Ok(Encryption { recipients: settings.recipients.clone(), identity: settings.identity.clone() })
    }

    /// Returns true if archived files are encrypted.
    pub(crate) fn is_on(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// Returns true if the settings name an identity.
    pub(crate) fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Encrypts a file into a new one, which is synced.
    pub(crate) fn encrypt(&self, file: &Path, encrypted: &Path) -> Result<(), Error> {
        let input = File::open(file).map_err(Error::io("read", file))?;
        let mut age = Command::new("age");
        for recipient in &self.recipients {
            age.args(["--recipient", recipient]);
        }
        run(&mut age, input, encrypted).map_err(|why| match why {
            Why::Said(said) => Error::Config(format!("ops.recipients: age cannot encrypt to them: {said}")),
            Why::Error(error) => error,
        })
    }

    /// Decrypts `input`, from its current position, into a new file; `place` is for messages.
    pub(crate) fn decrypt(&self, input: File, place: &Path, file: &Path) -> Result<(), Error> {
        let Some(identity) = &self.identity else {
            return Err(Error::Config(format!(
                "{}: it is encrypted; set ops.identity to the file of an age identity",
                place.display()
            )));
        };
        // Checked here because the message of the program is long.
        File::open(identity).map_err(Error::io("read the identity of ops.identity", identity))?;
        run(Command::new("age").arg("--decrypt").arg("--identity").arg(identity), input, file).map_err(|why| match why {
            Why::Said(said) if said.contains("no identity matched") => Error::Config(format!(
                "{}: it is not encrypted to the key of ops.identity, {}; set the identity of a key that it is \
                 encrypted to",
                place.display(),
                identity.display()
            )),
            Why::Said(said) => Error::Archive {
                place: place.display().to_string(),
                problem: format!("cannot be decrypted with {}: {said}", identity.display()),
            },
            Why::Error(error) => error,
        })
    }
}

enum Why {
    /// The message of the program.
    Said(String),
    Error(Error),
}

/// Runs the program from a file into a new one, which is removed after an error.
fn run(age: &mut Command, input: File, out: &Path) -> Result<(), Why> {
    let io = |error: io::Error| Why::Error(Error::io("write", out)(error));
    let output = File::create_new(out).map_err(io)?;
    let synced = output.try_clone().map_err(io)?;
    let failed = match program::start(age.stdin(input).stdout(output)) {
        Ok(started) => match program::finish("age", started, NO_TIMEOUT) {
            Ok(ended) if ended.status.success() => return synced.sync_all().map_err(io),
            Ok(ended) => {
                let lines = ended.stderr.lines().map(|line| line.trim_start_matches("age: "));
                let said = lines.into_iter().find(|line| !line.is_empty());
                Why::Said(said.map_or_else(|| ended.status.to_string(), str::to_owned))
            }
            Err(error) => Why::Error(error),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Why::Error(Error::Missing(
            "the program age, which encrypts and decrypts archived files, is missing; install it (on Debian: apt \
             install age)"
                .to_owned(),
        )),
        Err(error) => Why::Error(Error::Program { program: "age".to_owned(), said: error.to_string() }),
    };
    let _ = std::fs::remove_file(out);
    Err(failed)
}
