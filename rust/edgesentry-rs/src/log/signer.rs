//! The signers of a log: a key in a file, or a program that has the key.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use edgesentry_log::{CheckpointError, KeyType, Note, NoteSignature, SignerKey, VerifierKey};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::LogError;

/// The time that a program has for a signature.
const SIGNING_TIMEOUT: Duration = Duration::from_secs(30);
/// The output of a program that is read: a signature as hex digits, and some white space.
const MAX_OUTPUT_BYTES: u64 = 256;
/// The part of its error output that is shown.
const MAX_SHOWN_BYTES: u64 = 512;

/// A signer of the log's checkpoints.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogSigner {
    /// A key in memory.
    Key(SignerKey),
    /// A program that has the key.
    Program(ProgramSigner),
}

/// A program that gets a text on stdin and prints the Ed25519 signature of it as 128 hex digits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProgramSigner {
    program: PathBuf,
    key: VerifierKey,
    timeout: Duration,
}

impl From<SignerKey> for LogSigner {
    fn from(key: SignerKey) -> LogSigner {
        LogSigner::Key(key)
    }
}

impl From<ProgramSigner> for LogSigner {
    fn from(program: ProgramSigner) -> LogSigner {
        LogSigner::Program(program)
    }
}

impl LogSigner {
    /// Returns the public key.
    pub fn verifier(&self) -> &VerifierKey {
        match self {
            LogSigner::Key(key) => key.verifier(),
            LogSigner::Program(program) => &program.key,
        }
    }

    /// Returns the signature of a text. That of a program is verified.
    pub(super) async fn sign(&self, text: &str) -> Result<NoteSignature, LogError> {
        match self {
            LogSigner::Key(key) => Ok(NoteSignature::new(key, text).map_err(CheckpointError::from)?),
            LogSigner::Program(program) => program.sign(text).await,
        }
    }
}

impl ProgramSigner {
    /// Parses `KEY PROGRAM`: the public key of the program, a space, and its absolute path. The name of the key is
    /// `origin`.
    ///
    /// # Errors
    /// The text has another form; the error says which.
    pub fn parse(origin: &str, text: &str) -> Result<ProgramSigner, String> {
        let (key, program) = text
            .split_once(' ')
            .ok_or("expected exec:KEY PROGRAM, the public key and the absolute path of the program")?;
        let key = edgesentry_formats::public_key(key).map_err(|error| format!("the public key: {error}"))?;
        let key = VerifierKey::new(origin, KeyType::Ed25519, key).map_err(|error| error.to_string())?;
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
        Ok(ProgramSigner { program: program.to_owned(), key, timeout: SIGNING_TIMEOUT })
    }

    async fn sign(&self, text: &str) -> Result<NoteSignature, LogError> {
        let done = tokio::time::timeout(self.timeout, self.output(text)).await;
        let output = done.unwrap_or_else(|_| Err(format!("no signature in {} s", self.timeout.as_secs())));
        let failed =
            |problem: String| LogError::Signer { program: self.program.display().to_string(), problem };
        let signature = output.map_err(failed)?;
        let note = Note::assemble(text, [signature.clone()]);
        match note.and_then(|note| note.verify([&self.key]).map(|_| ())) {
            Ok(()) => Ok(signature),
            Err(error) => Err(failed(format!("its signature is not by the key in the settings: {error}"))),
        }
    }

    /// Runs the program without a shell and without arguments. A program that is not needed any more is killed.
    async fn output(&self, text: &str) -> Result<NoteSignature, String> {
        let io = |error: std::io::Error| error.to_string();
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A script that hangs waits for another program, which must end with it.
        command.process_group(0);
        let mut child = command.spawn().map_err(io)?;
        let mut group = Group(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)));
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let write = async move {
            let Some(mut stdin) = stdin else { return };
            // A program that signs without reading to the end prints a signature that does not hold.
            let _ = stdin.write_all(text.as_bytes()).await;
        };
        let ((), said, complaint) =
            tokio::join!(write, read(stdout, MAX_OUTPUT_BYTES), read_all(stderr, MAX_SHOWN_BYTES));
        let status = child.wait().await.map_err(io)?;
        group.0 = None;
        if !status.success() {
            let complaint = String::from_utf8_lossy(&complaint);
            let complaint = complaint.split_whitespace().collect::<Vec<_>>().join(" ");
            return Err(format!("{status}: {complaint:?}"));
        }
        let mut signature = [0; 64];
        hex::decode_to_slice(said.trim_ascii(), &mut signature)
            .map_err(|_| "it printed something else than a signature of 128 hex digits".to_owned())?;
        Ok(NoteSignature::of(&self.key, signature))
    }
}

/// The process group of a program, killed when it is dropped before the program has ended.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Reads up to a number of bytes. A program that writes more gets an error.
async fn read(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // The bytes before an error are still worth a look.
        let _ = pipe.take(most).read_to_end(&mut bytes).await;
    }
    bytes
}

/// Reads to the end, and returns the first bytes. A program that signs may write as much as it likes.
async fn read_all(mut pipe: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let bytes = read(pipe.as_mut(), most).await;
    if let Some(mut pipe) = pipe {
        let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const ORIGIN: &str = "log.example/lifts";
    const TEXT: &str = "log.example/lifts\n1\nbjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\n";

    /// Returns a program with this shell script, which has the key of a seed beside it as `$0.der`.
    fn program(folder: &Path, script: &str) -> ProgramSigner {
        let path = folder.join("sign");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let prefix = hex::decode("302e020100300506032b657004220420").unwrap();
        fs::write(folder.join("sign.der"), [prefix.as_slice(), &[7; 32]].concat()).unwrap();
        let key = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [7; 32]).unwrap();
        let text = format!("{} {}", key.verifier().key(), path.display());
        ProgramSigner::parse(ORIGIN, &text).unwrap()
    }

    const SIGN: &str = "cat > $0.text
        openssl pkeyutl -sign -rawin -keyform DER -inkey $0.der -in $0.text | od -An -v -tx1 | tr -d ' \\n'";

    #[tokio::test]
    async fn a_program_signs_like_the_key_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let signer = LogSigner::from(program(folder.path(), SIGN));
        let key = LogSigner::from(SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [7; 32]).unwrap());
        assert_eq!(signer.verifier(), key.verifier());
        assert_eq!(signer.sign(TEXT).await.unwrap(), key.sign(TEXT).await.unwrap());

        let noisy = format!("head -c 200000 /dev/zero >&2 || exit 9\n{SIGN}");
        let signer = LogSigner::from(program(folder.path(), &noisy));
        assert_eq!(signer.sign(TEXT).await.unwrap(), key.sign(TEXT).await.unwrap());
    }

    #[tokio::test]
    async fn a_program_that_fails_gives_one_sentence_and_no_signature() {
        let folder = tempfile::tempdir().unwrap();
        let other = format!("echo another text > $0.other; exec < $0.other; {SIGN}");
        for (script, problem) in [
            ("echo the module is locked >&2; exit 7", "exit status: 7: \"the module is locked\""),
            ("true", "something else than a signature"),
            ("echo 0123", "something else than a signature"),
            ("yes", "it works"),
            (&*"00".repeat(64).replacen("00", "echo 00", 1), "not by the key in the settings"),
            (&*other, "not by the key in the settings"),
            ("exec sleep 600", "no signature in 0 s"),
        ] {
            let signer =
                ProgramSigner { timeout: Duration::from_millis(900), ..program(folder.path(), script) };
            let error = signer.sign(TEXT).await.unwrap_err();
            assert_eq!((error.code(), error.is_retryable()), ("log_signer", true));
            let message = error.to_string();
            assert!(message.contains(problem) && !message.contains('\n'), "{script}: {message}");
        }
        let missing =
            ProgramSigner { program: folder.path().join("absent"), ..program(folder.path(), "true") };
        assert!(missing.sign(TEXT).await.unwrap_err().to_string().contains("No such file"));
    }

    #[tokio::test]
    async fn a_program_that_hangs_ends_with_the_programs_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 600 & echo $! > $0.pid; wait";
        let signer = ProgramSigner { timeout: Duration::from_millis(900), ..program(folder.path(), script) };
        signer.sign(TEXT).await.unwrap_err();
        let id = fs::read_to_string(folder.path().join("sign.pid")).unwrap();
        let state = || fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
        for _ in 0..100 {
            if state().is_empty() || state().contains(") Z") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{}", state());
    }

    #[test]
    fn a_program_is_a_key_and_an_absolute_path() {
        let key = SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [7; 32]).unwrap();
        let key = key.verifier().key();
        for text in ["", "/bin/sign", &format!("{key} sign"), &format!("{key}/bin/sign"), "00 /bin/sign"] {
            assert!(ProgramSigner::parse(ORIGIN, text).is_err(), "{text}");
        }
        ProgramSigner::parse(ORIGIN, &format!("{key} /opt/my programs/sign")).unwrap();
        let error = ProgramSigner::parse(ORIGIN, &format!("{key} /bin/sh --pin 4711")).unwrap_err();
        assert!(error.contains("no arguments") && !error.contains("4711"), "{error}");
    }
}
