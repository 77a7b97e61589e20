//! PKCS#11 URIs (RFC 7512), the part of them that names one private key.

use std::fmt;
use std::path::PathBuf;

/// The longest URI, in bytes.
const MAX_URI_BYTES: usize = 4096;
const SCHEME: &str = "pkcs11:";

/// A private key in a token: `pkcs11:token=LABEL;object=LABEL;id=%01?module-path=PATH&pin-source=file:PATH`.
///
/// ```
/// use edgesentry_device::signer::Pkcs11Uri;
/// let uri: Pkcs11Uri = "pkcs11:token=site%207;object=lift-01?module-path=/usr/lib/softhsm/libsofthsm2.so".parse()?;
/// assert_eq!(uri.token.as_deref(), Some("site 7"));
/// assert_eq!(uri.to_string(), "pkcs11:token=site%207;object=lift-01");
/// # Ok::<(), edgesentry_device::signer::UriError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Pkcs11Uri {
    /// The label of the token.
    pub token: Option<String>,
    /// Its manufacturer.
    pub manufacturer: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// The number of its slot.
    pub slot_id: Option<u64>,
    /// The label of the key.
    pub object: Option<String>,
    /// The id of the key.
    pub id: Option<Vec<u8>>,
    /// The library of the token.
    pub module_path: Option<PathBuf>,
    /// The file with the PIN.
    pub pin_file: Option<PathBuf>,
}

/// The reason why a text is not the URI of a key. It never quotes the text, which may have a PIN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the PKCS#11 URI: {0}")]
pub struct UriError(String);

impl Pkcs11Uri {
    /// Returns true if a text is meant as a PKCS#11 URI.
    pub fn is_uri(text: &str) -> bool {
        text.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }
}

impl std::str::FromStr for Pkcs11Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Pkcs11Uri, UriError> {
        if !Pkcs11Uri::is_uri(text) || text.len() > MAX_URI_BYTES {
            return Err(UriError(format!(
                "expected pkcs11:token=LABEL;object=LABEL of at most {MAX_URI_BYTES} bytes"
            )));
        }
        let text = &text[SCHEME.len()..];
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let mut uri = Pkcs11Uri::default();
        for attribute in path.split(';').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = pair(attribute)?;
            match name {
                "token" => once(name, &mut uri.token, decode_text(name, value)?)?,
                "manufacturer" => once(name, &mut uri.manufacturer, decode_text(name, value)?)?,
                "model" => once(name, &mut uri.model, decode_text(name, value)?)?,
                "serial" => once(name, &mut uri.serial, decode_text(name, value)?)?,
                "object" => once(name, &mut uri.object, decode_text(name, value)?)?,
                "id" => once(name, &mut uri.id, decode(name, value)?)?,
                "slot-id" => {
                    let number =
                        value.parse().map_err(|_| UriError("slot-id: expected a number".to_owned()))?;
                    once(name, &mut uri.slot_id, number)?;
                }
                "type" if value == "private" => {}
                "type" => return Err(UriError("type: expected private, or none".to_owned())),
                _ => {
                    return Err(unknown(
                        name,
                        "token, manufacturer, model, serial, slot-id, object, id and type",
                    ));
                }
            }
        }
        for attribute in query.split('&').filter(|attribute| !attribute.is_empty()) {
            let (name, value) = pair(attribute)?;
            match name {
                "module-path" => once(name, &mut uri.module_path, decode_text(name, value)?.into())?,
                "pin-source" => once(name, &mut uri.pin_file, pin_file(&decode_text(name, value)?)?)?,
                "pin-value" => {
                    let problem = "pin-value: other users would see the PIN; put it into a file and name that in pin-source";
                    return Err(UriError(problem.to_owned()));
                }
                _ => return Err(unknown(name, "module-path and pin-source")),
            }
        }
        Ok(uri)
    }
}

/// Writes the URI without its query: it is for messages.
impl fmt::Display for Pkcs11Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SCHEME)?;
        let texts = [
            ("token", &self.token),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("serial", &self.serial),
        ];
        let mut separator = "";
        for (name, value) in texts {
            if let Some(value) = value {
                write!(f, "{separator}{name}={}", encode(value.as_bytes()))?;
                separator = ";";
            }
        }
        if let Some(slot_id) = self.slot_id {
            write!(f, "{separator}slot-id={slot_id}")?;
            separator = ";";
        }
        if let Some(object) = &self.object {
            write!(f, "{separator}object={}", encode(object.as_bytes()))?;
            separator = ";";
        }
        if let Some(id) = &self.id {
            let id: String = id.iter().map(|byte| format!("%{byte:02x}")).collect();
            write!(f, "{separator}id={id}")?;
        }
        Ok(())
    }
}

fn pair(attribute: &str) -> Result<(&str, &str), UriError> {
    attribute.split_once('=').ok_or_else(|| UriError("expected NAME=VALUE between its separators".to_owned()))
}

fn once<T>(name: &str, place: &mut Option<T>, value: T) -> Result<(), UriError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError(format!("{name}: it is there twice"))),
    }
}

fn unknown(name: &str, known: &str) -> UriError {
    let name: String = name.chars().take(40).filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    UriError(format!("{name:?} is not supported here; expected {known}"))
}

fn pin_file(source: &str) -> Result<PathBuf, UriError> {
    let path = source.strip_prefix("file:").unwrap_or(source);
    // file:///run/pin has an empty host.
    let path = path.strip_prefix("//").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    if path.is_empty() || path.starts_with('|') {
        return Err(UriError("pin-source: expected file:PATH".to_owned()));
    }
    Ok(path.into())
}

fn decode_text(name: &str, value: &str) -> Result<String, UriError> {
    let text = String::from_utf8(decode(name, value)?);
    match text {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(UriError(format!("{name}: expected UTF-8 without U+0000"))),
    }
}

fn decode(name: &str, value: &str) -> Result<Vec<u8>, UriError> {
    let wrong = || UriError(format!("{name}: a percent sign without two hex digits"));
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = after.get(..2).ok_or_else(wrong)?;
        let mut byte = [0];
        hex::decode_to_slice(digits, &mut byte).map_err(|_| wrong())?;
        bytes.extend(byte);
        rest = &after[2..];
    }
    Ok(bytes)
}

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Pkcs11Uri, String> {
        text.parse().map_err(|error: UriError| error.to_string())
    }

    #[test]
    fn the_parts_of_a_uri_are_read_and_written() {
        let text = "pkcs11:token=site%207;manufacturer=M;model=X;serial=12;slot-id=3;object=a%3bb;id=%01%ff";
        let uri =
            parse(&format!("{text};type=private?module-path=/usr/lib/a%20b.so&pin-source=file:/run/pin"))
                .unwrap();
        assert_eq!(uri.to_string(), text);
        assert_eq!(uri.object.as_deref(), Some("a;b"));
        assert_eq!(uri.id.as_deref(), Some(&[1, 255][..]));
        assert_eq!(uri.module_path, Some("/usr/lib/a b.so".into()));
        assert_eq!(uri.pin_file, Some("/run/pin".into()));
        for source in ["/run/pin", "file:///run/pin", "file:/run/pin"] {
            let uri = parse(&format!("pkcs11:token=t?pin-source={source}")).unwrap();
            assert_eq!(uri.pin_file, Some("/run/pin".into()), "{source}");
        }
        assert_eq!(parse(&uri.to_string()).unwrap().to_string(), uri.to_string());
        assert_eq!(parse("PKCS11:").unwrap(), Pkcs11Uri::default());
    }

    #[test]
    fn a_wrong_uri_is_refused_without_its_secrets() {
        for (text, expected) in [
            ("pkcs11:token=t?pin-value=4711", "pin-source"),
            ("pkcs11:token=t;token=u", "twice"),
            ("pkcs11:pin-value=4711", "not supported"),
            ("pkcs11:token=t?pin-source=|print-pin 4711", "file:PATH"),
            ("pkcs11:4711", "NAME=VALUE"),
            ("pkcs11:token=%4", "percent"),
            ("pkcs11:token=%ff", "UTF-8"),
            ("pkcs11:object=a%00b", "U+0000"),
            ("pkcs11:slot-id=4711a", "a number"),
            ("pkcs11:type=cert", "private"),
            ("pkcs11:library-version=1", "not supported"),
            ("token=t", "expected pkcs11:"),
            (&format!("pkcs11:token={}", "x".repeat(5000)), "at most"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("4711"), "{text}: {error}");
        }
    }
}
