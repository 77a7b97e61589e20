//! The PIN of a token. It is zeroized on drop, and no error and no log shows it.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::Error;
use crate::secret::Secret;

/// The environment variable with the PIN, if neither an argument nor the URI names its source.
pub const PIN_VARIABLE: &str = "EDS_PKCS11_PIN";
/// Its former name, which the next release no longer reads.
pub const FORMER_PIN_VARIABLE: &str = "EDGESENTRY_PKCS11_PIN";
/// The longest PIN, in bytes.
const MAX_PIN_BYTES: usize = 256;

/// The source of a PIN.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Pin {
    /// The PIN itself.
    Value(Secret),
    /// A file with the PIN in its first line, which only its owner and its group can read. It is read at each login.
    File(PathBuf),
}

impl Pin {
    /// Returns the PIN of the environment variable [`PIN_VARIABLE`], if it is set.
    pub fn from_environment() -> Option<Pin> {
        let value = |name| std::env::var(name).ok().filter(|pin| !pin.is_empty());
        value(PIN_VARIABLE).or_else(|| value(FORMER_PIN_VARIABLE)).map(|pin| Pin::Value(pin.into()))
    }

    /// Returns the PIN.
    ///
    /// # Errors
    /// The file cannot be read, or other users may read it, or the PIN is empty or too long.
    pub fn reveal(&self) -> Result<Secret, Error> {
        let (pin, place) = match self {
            Pin::Value(pin) => (pin.clone(), "the PIN".to_owned()),
            Pin::File(path) => (read(path)?, path.display().to_string()),
        };
        if pin.reveal().is_empty() || pin.reveal().len() > MAX_PIN_BYTES {
            let problem = format!("{place}: expected a PIN of 1 to {MAX_PIN_BYTES} bytes");
            return Err(Error::Config(problem));
        }
        Ok(pin)
    }
}

fn read(path: &Path) -> Result<Secret, Error> {
    let config = |problem: String| Error::Config(format!("{}: {problem}", path.display()));
    let failed = |error| Error::unusable(format!("{}: cannot read the PIN", path.display()), error);
    let file = File::open(path).map_err(failed)?;
    let mode = shared_mode(&file).map_err(failed)?;
    if mode != 0 {
        let problem =
            format!("mode {mode:04o} lets others read or change the PIN; run: chmod 600 {}", path.display());
        return Err(config(problem));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_PIN_BYTES + 3));
    file.take(MAX_PIN_BYTES as u64 + 3).read_to_end(&mut text).map_err(failed)?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = std::str::from_utf8(line).map_err(|_| config("the PIN is not UTF-8".to_owned()))?;
    Ok(Secret::from(line.to_owned()))
}

/// Returns the mode of a file that others may read, or that its group may change; 0 for all other files.
#[cfg(unix)]
fn shared_mode(file: &File) -> std::io::Result<u32> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    Ok(if mode & 0o037 == 0 { 0 } else { mode })
}

#[cfg(not(unix))]
fn shared_mode(_: &File) -> std::io::Result<u32> {
    Ok(0)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_pin_is_the_first_line_of_a_file_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            Pin::File(path.clone())
                .reveal()
                .map(|pin| pin.reveal().to_owned())
                .map_err(|error| error.to_string())
        };
        for text in ["4711", "4711\n", "4711\r\nsecond line\n"] {
            assert_eq!(read(text, 0o640).unwrap(), "4711");
        }
        assert_eq!(read(&"7".repeat(256), 0o600).unwrap().len(), 256);
        for (text, mode, expected) in [
            ("4711", 0o644, "chmod 600"),
            ("4711", 0o660, "chmod 600"),
            ("\n4711", 0o600, "1 to 256 bytes"),
            (&"4711".repeat(100), 0o600, "1 to 256 bytes"),
        ] {
            let error = read(text, mode).unwrap_err();
            assert!(error.contains(expected) && !error.contains("4711"), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(Pin::File(path).reveal().unwrap_err().to_string().contains("cannot read the PIN"));
        assert!(!format!("{:?}", Pin::Value("4711".to_owned().into())).contains("4711"));
    }
}
