//! `eds inspect-key`: the format of a key, and whether it may be trusted.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use edgesentry_chain::{Device, KeyError, PublicKey, Scheme, Signer as _};
use edgesentry_formats::{SeedError, describe, other_file};
use edgesentry_rs::signer::Pkcs11Uri;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::keys::{TokenArgs, program_signer};
use crate::output::{Answer, Output};

/// The largest public key file, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 10;

/// Show the public key of a seed file, or check a public key
///
/// A weak key (not canonical, of small order, with a torsion part) is refused in key rings: exit code 1.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  eds inspect-key lift-01.seed
  eds inspect-key 'pkcs11:token=site-7;object=lift-01?module-path=/usr/lib/softhsm/libsofthsm2.so'
  eds inspect-key d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")]
pub(crate) struct InspectKey {
    /// A seed file, a file with a public key (PEM, DER, SSH, JWK, base64), a public key of 64 hex digits, or the PKCS#11 URI of a
    /// key in a token
    #[arg(value_name = "KEY", required_unless_present = "signer")]
    key: Option<String>,
    /// Program that has the key
    #[arg(long, value_name = "PROGRAM", conflicts_with = "key")]
    signer: Option<PathBuf>,
    #[command(flatten)]
    token: TokenArgs,
}

impl InspectKey {
    pub(crate) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let text = match (&self.key, &self.signer) {
            (_, Some(program)) => {
                let key = *program_signer(program)?.public_key();
                return self.answer(output, "program", &key.to_string(), &Ok(key));
            }
            (Some(text), None) if Pkcs11Uri::is_uri(text) => {
                let key = *self.token.open(text)?.public_key();
                return self.answer(output, "token", &key.to_string(), &Ok(key));
            }
            (text, None) => text.as_deref().unwrap_or_default(),
        };
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex && !Path::new(text).exists() {
            let message = format!("{text}: neither a file nor a public key of 64 hex digits");
            return Err(Failure::usage("key_malformed", message));
        }
        let file = if is_hex { None } else { public_key_file(Path::new(text))? };
        let (source, text, key) = if let Some(key) = file {
            ("public key", key.as_ref().map_or_else(|_| String::new(), PublicKey::to_string), key)
        } else if is_hex {
            ("public key", text.to_ascii_lowercase(), text.parse())
        } else {
            let seed = edgesentry_formats::read_seed_file(Path::new(text)).map_err(either)?;
            let key = Device::from_seed("", *seed, Scheme::Record).public_key();
            ("seed file", key.as_ref().map_or_else(|_| String::new(), PublicKey::to_string), key)
        };
        self.answer(output, source, &text, &key)
    }

    fn answer(
        &self,
        output: &Output,
        source: &str,
        text: &str,
        key: &Result<PublicKey, KeyError>,
    ) -> Result<Exit, Failure> {
        let weakness = key.as_ref().err().map(|error| describe(error));
        let verdict = match &weakness {
            None => "yes: canonical, not of small order, torsion-free".to_owned(),
            Some(weakness) => format!("no: {weakness}"),
        };
        let shown = format!("given as    {source}\npublic key  {text}\nkey ring    {verdict}\n");
        let content =
            json!({"source": source, "public_key": text, "accepted": key.is_ok(), "weakness": weakness});
        output.answer(&Answer {
            ok: key.is_ok(),
            name: "key",
            content: &content,
            text: shown,
            failure: None,
        })?;
        Ok(if key.is_ok() { Exit::Holds } else { Exit::Findings })
    }
}

/// A file of 64 hex digits may hold a public key as well, which others may read.
fn either(error: SeedError) -> Failure {
    let is_shared = matches!(error, SeedError::Shared { .. });
    let mut failure = Failure::from(error);
    if is_shared {
        failure.message.push_str("; if it is a public key, pass its 64 hex digits in place of the file");
    }
    failure
}

/// Reads the public key in a file of another program; returns `None` for a file with the form of a seed file: only
/// hexadecimal digits.
fn public_key_file(path: &Path) -> Result<Option<Result<PublicKey, KeyError>>, Failure> {
    let mut head = Vec::new();
    let Ok(_) = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_end(&mut head)) else {
        // The error is that of the seed file.
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&head);
    let text = text.trim();
    if text.contains("PRIVATE KEY") {
        let message = format!(
            "{}: this is a private key; give the public one, which openssl pkey -pubout or ssh-keygen -y writes",
            path.display()
        );
        return Err(Failure::usage("key_malformed", message));
    }
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    if text.starts_with('{')
        && let Some(problem) = other_file(&head, "a key")
    {
        return Err(Failure::usage("key_malformed", format!("{}: {problem}", path.display())));
    }
    let key = edgesentry_formats::public_key_from_bytes(&head);
    let is_of_a_known_form =
        ["-----BEGIN ", "ssh-", "ecdsa-", "sk-", "{"].iter().any(|begin| text.starts_with(begin));
    // Other bytes that are not a key are neither a weak key nor a seed.
    if !is_of_a_known_form && matches!(key, Err(KeyError::NotHex(_) | KeyError::Unsupported(_))) {
        let message = format!(
            "{}: neither a seed file nor a public key; a seed file holds 64 hex digits and a newline, a public key is PEM, DER, SSH, JWK or \
             base64",
            path.display()
        );
        return Err(Failure::usage("key_malformed", message));
    }
    Ok(Some(key))
}
