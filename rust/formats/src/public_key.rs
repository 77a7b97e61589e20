//! Public keys in the forms of other programs.

use base64::Engine;
use edgesentry_chain::{KeyError, PublicKey};

use crate::bytes_from_text;

/// The prefix of the 32 bytes of an Ed25519 key in DER (RFC 8410).
const SPKI: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// The prefix of these bytes in the body of an SSH key.
const SSH: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20";
/// Maximum length of the text of a key, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 10;

/// Parses an Ed25519 public key: 64 hex digits, base64 of its 32 bytes, PEM or base64 of its DER, a line of SSH
/// (`ssh-ed25519 ...`), or a JSON Web Key.
///
/// ```
/// use edgesentry_formats::public_key;
/// let key = public_key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")?;
/// let pem = "-----BEGIN PUBLIC KEY-----\n\
///     MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
///     -----END PUBLIC KEY-----\n";
/// assert_eq!(public_key(pem)?, key);
/// assert_eq!(public_key("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")?, key);
/// # Ok::<(), edgesentry_chain::KeyError>(())
/// ```
pub fn public_key(text: &str) -> Result<PublicKey, KeyError> {
    let trimmed = text.trim();
    if trimmed.len() > MAX_TEXT_BYTES {
        return Err(KeyError::NotHex(trimmed.len()));
    }
    if let Some(bytes) = bytes_from_text::<32>(trimmed) {
        return PublicKey::from_bytes(bytes);
    }
    if let Some(pem) = trimmed.strip_prefix("-----BEGIN ") {
        return from_pem(pem);
    }
    if trimmed.starts_with("ssh-") || trimmed.starts_with("ecdsa-") || trimmed.starts_with("sk-") {
        let body = trimmed.split_ascii_whitespace().nth(1).and_then(decoded);
        let key = body.as_deref().and_then(|body| body.strip_prefix(SSH));
        return from_raw(key, "this SSH key is not ssh-ed25519; give an Ed25519 key");
    }
    if trimmed.starts_with('{') {
        return from_jwk(trimmed);
    }
    match decoded(trimmed) {
        Some(der) if der.starts_with(SPKI) => from_raw(der.strip_prefix(SPKI), NOT_DER),
        _ => text.parse(),
    }
}

/// Parses an Ed25519 public key from its 32 bytes, its DER, or the text of [`public_key`].
pub fn public_key_from_bytes(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    if let Ok(raw) = bytes.try_into() {
        return PublicKey::from_bytes(raw);
    }
    if let Some(key) = bytes.strip_prefix(SPKI) {
        return from_raw(Some(key), NOT_DER);
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => public_key(text),
        Err(_) => Err(KeyError::Unsupported("expected 32 bytes or the DER of an Ed25519 public key")),
    }
}

const NOT_DER: &str = "this DER is not an Ed25519 public key";

fn from_raw(key: Option<&[u8]>, otherwise: &'static str) -> Result<PublicKey, KeyError> {
    match key.and_then(|key| key.try_into().ok()) {
        Some(raw) => PublicKey::from_bytes(raw),
        None => Err(KeyError::Unsupported(otherwise)),
    }
}

fn from_pem(pem: &str) -> Result<PublicKey, KeyError> {
    let Some((label, rest)) = pem.split_once("-----") else {
        return Err(KeyError::Unsupported("the first line of this PEM has no end"));
    };
    match label {
        "PUBLIC KEY" => {
            let body: String =
                rest.split("-----").next().unwrap_or_default().split_ascii_whitespace().collect();
            let der = decoded(&body);
            from_raw(
                der.as_deref().and_then(|der| der.strip_prefix(SPKI)),
                "this PEM is not an Ed25519 public key; openssl genpkey -algorithm ed25519 makes one",
            )
        }
        "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "OPENSSH PRIVATE KEY" => Err(KeyError::Unsupported(
            "this is a private key; give the public one, which openssl pkey -pubout or ssh-keygen -y writes",
        )),
        _ => Err(KeyError::Unsupported("this PEM is not a public key (BEGIN PUBLIC KEY)")),
    }
}

fn from_jwk(text: &str) -> Result<PublicKey, KeyError> {
    #[derive(serde::Deserialize)]
    struct Jwk {
        kty: String,
        crv: String,
        x: String,
    }
    match serde_json::from_str::<Jwk>(text) {
        Ok(jwk) if jwk.kty == "OKP" && jwk.crv == "Ed25519" => {
            let raw = bytes_from_text::<32>(&jwk.x);
            from_raw(
                raw.as_ref().map(<[u8; 32]>::as_slice),
                "the x of this JSON Web Key is not 32 bytes in base64",
            )
        }
        _ => Err(KeyError::Unsupported("this is not a JSON Web Key of kty OKP and crv Ed25519")),
    }
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}
