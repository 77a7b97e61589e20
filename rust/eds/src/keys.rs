//! Private keys that arguments name: seed files, tokens, programs.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use edgesentry_chain::{SignError, Signer, SignerError};
use edgesentry_formats::describe;
use edgesentry_rs::Error;
use edgesentry_rs::signer::{
    FORMER_PIN_VARIABLE, PIN_VARIABLE, Pin, Pkcs11Signer, Pkcs11Uri, ProgramSigner, SIGNING_TIMEOUT,
};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::exit::Failure;
use crate::remarks::variable;

/// The token of a PKCS#11 URI.
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    /// Library of the token, if its PKCS#11 URI has no module-path
    #[arg(long, value_name = "PATH")]
    module: Option<PathBuf>,
    /// File with the PIN of the token, if its URI has no pin-source; or set the variable EDS_PKCS11_PIN
    #[arg(long, value_name = "FILE")]
    pin_file: Option<PathBuf>,
}

/// The key of a device.
#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// Key of the device: a seed file, or the PKCS#11 URI of a key in a token
    #[arg(long, value_name = "KEY")]
    key: Option<PathBuf>,
    /// Program that holds the key of the device, instead of --key
    #[arg(long, value_name = "PROGRAM", conflicts_with = "key")]
    signer: Option<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
}

impl KeyArgs {
    /// Returns true if a key is named.
    pub(crate) fn is_given(&self) -> bool {
        self.key.is_some() || self.signer.is_some()
    }

    /// Returns the seed file, if the key is in one.
    pub(crate) fn file(&self) -> Option<&PathBuf> {
        self.key.as_ref().filter(|key| key.to_str().is_none_or(|text| !Pkcs11Uri::is_uri(text)))
    }

    /// Returns the options of tokens.
    pub(crate) fn token(&self) -> &TokenArgs {
        &self.token
    }

    /// Opens the key.
    pub(crate) fn open(&self) -> Result<Arc<dyn Signer>, Failure> {
        match (&self.key, &self.signer) {
            (Some(key), _) => self.token.key(key),
            (None, Some(program)) => program_signer(program),
            (None, None) => Err(Failure::usage("usage", "name the key of the device: --key or --signer")),
        }
    }
}

/// Refuses a key in place of its file. Does not quote it, because it may be a seed.
fn refuse_digits(key: &Path) -> Result<(), Failure> {
    let is_key = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if key.to_str().is_some_and(is_key) && !key.exists() {
        let problem = "expected the path of a seed file, got 64 hex digits; eds keygen writes a seed file";
        return Err(Failure::usage("usage", problem));
    }
    Ok(())
}

impl TokenArgs {
    /// Opens a key: a seed file or a PKCS#11 URI.
    pub(crate) fn key(&self, key: &Path) -> Result<Arc<dyn Signer>, Failure> {
        match key.to_str().filter(|text| Pkcs11Uri::is_uri(text)) {
            Some(text) => Ok(Arc::new(self.open(text)?)),
            // Not through the errors of settings: those of seed files have codes of their own.
            None => {
                refuse_digits(key)?;
                let seed = edgesentry_formats::read_seed_file(key)?;
                let signer = edgesentry_chain::SeedSigner::new(*seed);
                Ok(Arc::new(signer.map_err(|error| Failure::usage("key", describe(&error)))?))
            }
        }
    }

    /// Opens the key of a PKCS#11 URI.
    pub(crate) fn open(&self, text: &str) -> Result<Pkcs11Signer, Failure> {
        let uri = self.uri(text)?;
        let pin = self.pin(&uri)?;
        Ok(Pkcs11Signer::open(uri, pin)?)
    }

    /// Returns the URI, with the library of the arguments.
    pub(crate) fn uri(&self, text: &str) -> Result<Pkcs11Uri, Failure> {
        let mut uri: Pkcs11Uri = text.parse().map_err(|error| Failure::usage("usage", describe(&error)))?;
        if let Some(module) = &self.module {
            let module = std::path::absolute(module)
                .map_err(|error| Failure::usage("usage", format!("--module: {error}")))?;
            uri.module_path = Some(module);
        }
        Ok(uri)
    }

    /// Returns the PIN of the arguments; if no source of it is named, asks at the terminal.
    pub(crate) fn pin(&self, uri: &Pkcs11Uri) -> Result<Option<Pin>, Failure> {
        if let Some(file) = &self.pin_file {
            return Ok(Some(Pin::File(file.clone())));
        }
        let is_named = uri.pin_file.is_some() || variable(PIN_VARIABLE, FORMER_PIN_VARIABLE).is_some();
        if is_named || !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let pin =
            ask(&format!("PIN of {uri} (empty if the token asks for it itself): ")).map_err(|error| {
                Failure::usage("usage", format!("cannot ask for the PIN: {error}; set {PIN_VARIABLE}"))
            })?;
        Ok((!pin.is_empty()).then(|| Pin::Value(pin.to_string().into())))
    }
}

/// Opens the key of a program.
pub(crate) fn program_signer(program: &Path) -> Result<Arc<dyn Signer>, Failure> {
    // A name without a directory would be searched for in PATH.
    let program = std::path::absolute(program)
        .map_err(|error| Failure::usage("usage", format!("--signer: {error}")))?;
    Ok(Arc::new(ProgramSigner::start(&program, SIGNING_TIMEOUT)?))
}

/// The state of the terminal while a question hides its answer.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Lets the terminal show the input again; for the end of the process during a question.
pub(crate) fn restore_terminal() {
    if let Some(before) = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
    }
}

/// Reads a line from the terminal, which does not show it.
fn ask(question: &str) -> std::io::Result<Zeroizing<String>> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    tcsetattr(&stdin, OptionalActions::Flush, &silent)?;
    let mut line = Zeroizing::new(String::with_capacity(512));
    let asked = std::io::stderr().write_all(question.as_bytes());
    let read = asked.and_then(|()| stdin.lock().take(512).read_line(&mut line));
    restore_terminal();
    std::io::stderr().write_all(b"\n")?;
    read?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}

impl From<SignerError> for Failure {
    fn from(error: SignerError) -> Failure {
        Error::Signer(error).into()
    }
}

impl From<SignError> for Failure {
    fn from(error: SignError) -> Failure {
        match error {
            SignError::Signer(error) => error.into(),
            error => Failure::unfinished("chain_full", describe(&error)),
        }
    }
}
