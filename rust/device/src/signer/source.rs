//! The text of a setting or an argument that names a key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use edgesentry_chain::{PublicKey, SeedSigner, Signer};
use edgesentry_formats::read_seed_file_of_group;

use super::{Pkcs11Signer, Pkcs11Uri};
use crate::error::{Error, describe};

const PROGRAM: &str = "exec:";

/// A key: the path of a seed file, a PKCS#11 URI, or `exec:KEY PROGRAM`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum KeySource {
    /// A seed file, as `eds keygen` writes it.
    File(PathBuf),
    /// A key in a token.
    Token(Pkcs11Uri),
    /// A program that has the private key of this public key.
    Program {
        /// The public key.
        key: PublicKey,
        /// The absolute path of the program.
        program: PathBuf,
    },
}

impl KeySource {
    /// Parses the text of a setting.
    ///
    /// # Errors
    /// One sentence that quotes no secret.
    pub fn parse(text: &Path) -> Result<KeySource, String> {
        let Some(utf8) = text.to_str() else { return Ok(KeySource::File(text.to_owned())) };
        if Pkcs11Uri::is_uri(utf8) {
            return utf8.parse().map(KeySource::Token).map_err(|error: super::UriError| error.to_string());
        }
        match utf8.strip_prefix(PROGRAM) {
            Some(program) => parse_program(program),
            None => Ok(KeySource::File(text.to_owned())),
        }
    }

    /// Returns the path, if the key is in a file.
    pub fn file(&self) -> Option<&Path> {
        match self {
            KeySource::File(path) => Some(path),
            _ => None,
        }
    }

    /// Returns the key. A seed file is read, which the group of its owner may read, too; a token is asked for its public key;
    /// a program is not started.
    ///
    /// # Errors
    /// The file or the token cannot be used.
    pub fn open(&self) -> Result<Arc<dyn Signer>, Error> {
        Ok(match self {
            KeySource::File(path) => {
                let seed = read_seed_file_of_group(path).map_err(|error| Error::Config(describe(&error)))?;
                let signer = SeedSigner::new(*seed);
                Arc::new(signer.map_err(|error| Error::unusable(path.display().to_string(), error))?)
            }
            KeySource::Token(uri) => Arc::new(Pkcs11Signer::open(uri.clone(), None)?),
            KeySource::Program { key, program } => open_program(*key, program)?,
        })
    }
}

#[cfg(feature = "program")]
fn open_program(key: PublicKey, program: &Path) -> Result<Arc<dyn Signer>, Error> {
    Ok(Arc::new(super::ProgramSigner::of_key(program, key)))
}

#[cfg(not(feature = "program"))]
fn open_program(_: PublicKey, program: &Path) -> Result<Arc<dyn Signer>, Error> {
    let problem = "this build starts no programs; build with --features program";
    Err(Error::Config(format!("{}: {problem}", program.display())))
}

fn parse_program(text: &str) -> Result<KeySource, String> {
    let (key, program) = text
        .split_once(' ')
        .ok_or("expected exec:KEY PROGRAM, the public key and the absolute path of the program")?;
    let key = edgesentry_formats::public_key(key).map_err(|error| format!("the public key: {error}"))?;
    // Arguments are not shown: they may have a secret, such as a PIN.
    if let Some((first, _)) = program.split_once(' ')
        && !Path::new(program).exists()
        && Path::new(first).is_file()
    {
        return Err(format!("{first}: the program gets no arguments; name a script that passes them"));
    }
    let program = Path::new(program);
    if !program.is_absolute() {
        return Err(format!("{}: expected the absolute path of a program", program.display()));
    }
    Ok(KeySource::Program { key, program: program.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_file_a_token_or_a_program() {
        let key = SeedSigner::new([7; 32]).unwrap();
        let key = key.public_key();
        let parse = |text: &str| KeySource::parse(Path::new(text));
        assert_eq!(parse("log.seed").unwrap(), KeySource::File("log.seed".into()));
        assert!(matches!(parse("pkcs11:token=t;object=k").unwrap(), KeySource::Token(_)));
        let program = KeySource::Program { key: *key, program: "/opt/my programs/sign".into() };
        assert_eq!(parse(&format!("exec:{key} /opt/my programs/sign")).unwrap(), program);
        for text in ["", "/bin/sign", &format!("{key} sign"), &format!("{key}/bin/sign"), "00 /bin/sign"] {
            assert!(parse(&format!("exec:{text}")).is_err(), "{text}");
        }
        let error = parse(&format!("exec:{key} /bin/sh --pin 4711")).unwrap_err();
        assert!(error.contains("no arguments") && !error.contains("4711"), "{error}");
        let error = parse("pkcs11:token=t?pin-value=4711").unwrap_err();
        assert!(!error.contains("4711"), "{error}");
    }
}
