//! Keys in other programs, which answer one line for each line (docs/how-to/hardware-keys.md has the protocol).
//!
//! A program starts at the first request and stays. It may end after an answer; it then starts again at the next
//! request. Its output is never quoted, except the text of its answer `error TEXT`.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use edgesentry_chain::{PublicKey, Signer, SignerError, escape};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{FORMER_PIN_VARIABLE, MAX_MESSAGE_BYTES, MAX_SIGNING_TIMEOUT, PIN_VARIABLE, SIGNING_TIMEOUT};

/// The longest answer. A signature has 131 bytes.
const MAX_LINE_BYTES: usize = 1024;
/// The part of an answer `error TEXT` that is shown.
const MAX_SHOWN_CHARACTERS: usize = 200;
/// How long a program that is ended holds its caller up.
const ENDING_TIMEOUT: Duration = Duration::from_secs(2);

/// A program that has a private key. It is ended on drop.
pub struct ProgramSigner {
    program: PathBuf,
    key: PublicKey,
    timeout: Duration,
    /// One request at a time.
    running: Mutex<Option<Running>>,
    /// The process whose threads speak with the program.
    process: u32,
}

impl std::fmt::Debug for ProgramSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProgramSigner")
            .field("program", &self.program)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl ProgramSigner {
    /// Starts a program, which gets no arguments, and asks it for its public key. Each answer may take `timeout`.
    ///
    /// # Errors
    /// The program does not start, or gives no public key.
    pub fn start(program: &Path, timeout: Duration) -> Result<ProgramSigner, SignerError> {
        let timeout = timeout.min(MAX_SIGNING_TIMEOUT);
        let mut running = None;
        let answer = ask(program, &mut running, "public-key", timeout);
        let bytes = answer.and_then(|answer| digits::<32>(&answer, "a public key of 64 hex digits"));
        let key = bytes.and_then(|bytes| {
            PublicKey::from_bytes(bytes).map_err(|error| Problem::lasting(format!("its public key: {error}")))
        });
        let key = key.map_err(|problem| problem.of(program))?;
        Ok(ProgramSigner {
            program: program.to_owned(),
            key,
            timeout,
            running: Mutex::new(running),
            process: std::process::id(),
        })
    }

    /// Returns the signer of a program that has the private key of `key`. It starts when it is needed.
    pub fn of_key(program: &Path, key: PublicKey) -> ProgramSigner {
        let program = program.to_owned();
        ProgramSigner {
            program,
            key,
            timeout: SIGNING_TIMEOUT,
            running: Mutex::new(None),
            process: std::process::id(),
        }
    }

    /// Returns the same signer with another time for each answer.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> ProgramSigner {
        ProgramSigner { timeout: timeout.min(MAX_SIGNING_TIMEOUT), ..self }
    }
}

impl Signer for ProgramSigner {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        if message.len() > MAX_MESSAGE_BYTES {
            let problem = format!("a message of {} bytes is too long to sign", message.len());
            return Err(Problem::lasting(problem).of(&self.program));
        }
        if self.process != std::process::id() {
            let problem = "it was opened before fork(); open it again in this process";
            return Err(Problem::lasting(problem).of(&self.program));
        }
        let request = format!("sign {}", hex::encode(message));
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = ask(&self.program, &mut running, &request, self.timeout);
        let signature = answer.and_then(|answer| digits::<64>(&answer, "a signature of 128 hex digits"));
        if signature.is_err() {
            // Its next line would answer an earlier request.
            *running = None;
        }
        signature.map_err(|problem| problem.of(&self.program))
    }
}

/// A failure of a program.
struct Problem {
    text: String,
    retryable: bool,
}

impl Problem {
    fn passing(text: impl Into<String>) -> Problem {
        Problem { text: text.into(), retryable: true }
    }

    fn lasting(text: impl Into<String>) -> Problem {
        Problem { text: text.into(), retryable: false }
    }

    fn of(self, program: &Path) -> SignerError {
        let make = if self.retryable { SignerError::passing } else { SignerError::lasting };
        make(program.display().to_string(), self.text)
    }
}

/// Sends a request, and returns the text after `ok `. A program that ended after an earlier answer is started again,
/// once. After an error no program runs.
fn ask(
    program: &Path,
    running: &mut Option<Running>,
    request: &str,
    timeout: Duration,
) -> Result<String, Problem> {
    let until = Instant::now() + timeout;
    let mut kept = running.take();
    let kept_answer = kept.as_mut().map(|kept| kept.ask(request, until, timeout));
    let (used, answer) = match (kept, kept_answer) {
        (Some(kept), Some(Ok(Said::Line(line)))) => (kept, Ok(line)),
        (_, Some(Err(problem))) => return Err(problem),
        (kept, _) => {
            drop(kept);
            let mut fresh = Running::start(program)?;
            let answer = fresh.ask(request, until, timeout).and_then(|said| match said {
                Said::Line(line) => Ok(line),
                Said::End => Err(Problem::passing("it ended without an answer")),
            });
            (fresh, answer)
        }
    };
    let line = answer?;
    let answer = match line.split_once(' ') {
        Some(("ok", answer)) => Ok(answer.to_owned()),
        Some(("error", text)) => {
            let text: String = text.chars().take(MAX_SHOWN_CHARACTERS).collect();
            Err(Problem::passing(format!("it says: {}", escape::quoted(&text))))
        }
        _ => Err(Problem::lasting(
            "expected an answer `ok HEX` or `error TEXT`, and it printed something else",
        )),
    };
    if answer.is_ok() {
        *running = Some(used);
    }
    answer
}

fn digits<const N: usize>(text: &str, expected: &str) -> Result<[u8; N], Problem> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| Problem::lasting(format!("expected {expected}, and it printed something else")))?;
    Ok(bytes)
}

/// What a program says.
enum Said {
    Line(String),
    End,
}

/// A running program, with the threads that write to it and read from it.
struct Running {
    /// None after the end.
    child: Option<Child>,
    /// None after the end. The stdin of the program is closed with it.
    requests: Option<SyncSender<String>>,
    answers: Receiver<Said>,
    /// The process that started it.
    process: u32,
}

/// Returns the command of a program: without a shell, without arguments, and in a process group of its own, so that a
/// script ends together with the programs for which it waits. The PIN of a token does not concern it.
fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    command.env_remove(PIN_VARIABLE).env_remove(FORMER_PIN_VARIABLE);
    command
}

impl Running {
    fn start(program: &Path) -> Result<Running, Problem> {
        let started = command(program).spawn();
        let mut child = started.map_err(|error| Problem::lasting(format!("cannot start: {error}")))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        // With room for one request and one answer, so that no thread waits for another one.
        let (requests, waiting) = sync_channel::<String>(1);
        let (said, answers) = sync_channel(1);
        let process = std::process::id();
        let running = Running { child: Some(child), requests: Some(requests), answers, process };
        let write = move || {
            let Some(mut stdin) = stdin else { return };
            // A program that is gone is noticed by the reader.
            while let Ok(request) = waiting.recv() {
                if stdin.write_all(request.as_bytes()).and_then(|()| stdin.flush()).is_err() {
                    return;
                }
            }
        };
        let read = move || {
            if let Some(stdout) = stdout {
                read_lines(stdout, &said);
            }
        };
        let threads = thread::Builder::new().name("signer-in".to_owned()).spawn(write);
        let threads = threads.and_then(|_| thread::Builder::new().name("signer-out".to_owned()).spawn(read));
        threads.map_err(|error| Problem::passing(format!("cannot start a thread: {error}")))?;
        Ok(running)
    }

    fn ask(&mut self, request: &str, until: Instant, timeout: Duration) -> Result<Said, Problem> {
        match self.answers.try_recv() {
            Err(TryRecvError::Empty) => {}
            Ok(Said::End) | Err(TryRecvError::Disconnected) => return Ok(Said::End),
            Ok(Said::Line(_)) => return Err(Problem::lasting("it printed a line without a request")),
        }
        let Some(requests) = &self.requests else { return Ok(Said::End) };
        match requests.try_send(format!("{request}\n")) {
            Ok(()) => {}
            Err(TrySendError::Disconnected(_)) => return Ok(Said::End),
            Err(TrySendError::Full(_)) => {
                return Err(Problem::lasting("it responds without reading its requests"));
            }
        }
        match self.answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(said) => Ok(said),
            Err(RecvTimeoutError::Disconnected) => Ok(Said::End),
            Err(RecvTimeoutError::Timeout) => {
                Err(Problem::passing(format!("it gave no answer in {} s and was ended", timeout.as_secs())))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            return;
        }
        // A program that cannot be killed, such as one of another user, ends at the end of its stdin.
        self.requests = None;
        if let Some(child) = self.child.take() {
            end(child);
        }
    }
}

/// Kills a program and waits for its end, but not for long: a thread waits for one that goes on.
fn end(mut child: Child) {
    // The child was not waited for, so its process group is still its own.
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    // It may have left its process group.
    let _ = child.kill();
    reap(child, ENDING_TIMEOUT);
}

fn reap(mut child: Child, timeout: Duration) {
    let until = Instant::now() + timeout;
    let mut pause = Duration::from_millis(1);
    while let Ok(None) = child.try_wait() {
        if Instant::now() >= until {
            // Without the thread, the entry of the program in the process table stays.
            let wait = move || child.wait();
            let _ = thread::Builder::new().name("signer-end".to_owned()).spawn(wait);
            return;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Passes each line on, and waits while the last one was not taken: a program that prints without end waits, too.
fn read_lines(stdout: ChildStdout, said: &SyncSender<Said>) {
    let mut stdout = BufReader::with_capacity(MAX_LINE_BYTES, stdout);
    loop {
        let mut line = Vec::new();
        let read = stdout.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line);
        if read.is_err() || line.is_empty() {
            break;
        }
        let is_whole = line.last() == Some(&b'\n') || line.len() < MAX_LINE_BYTES;
        // A line that is too long or not text counts as an empty one, which no request has as its answer.
        let text = std::str::from_utf8(&line).ok().filter(|_| is_whole).unwrap_or_default();
        if said.send(Said::Line(text.trim_ascii_end().to_owned())).is_err() {
            return;
        }
    }
    let _ = said.send(Said::End);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use edgesentry_chain::{SeedSigner, sign_with};

    use super::*;

    /// Writes a program with this shell script, which has the key of the seed 7, 7, ... beside it as `$0.der`.
    fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("sign");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let prefix = hex::decode("302e020100300506032b657004220420").unwrap();
        fs::write(folder.join("sign.der"), [prefix.as_slice(), &[7; 32]].concat()).unwrap();
        path
    }

    fn script(after: &str) -> String {
        let key = *SeedSigner::new([7; 32]).unwrap().public_key();
        format!(
            "echo start >> $0.starts
            while read -r request message; do
                case $request in
                public-key) echo 'ok {key}' ;;
                sign)
                    perl -e 'print pack \"H*\", shift' \"$message\" > $0.message
                    signature=$(openssl pkeyutl -sign -rawin -keyform DER -inkey $0.der -in $0.message | od -An -v -tx1 | tr -d ' \\n')
                    echo \"ok $signature\" ;;
                *) echo 'error unknown request' ;;
                esac
                {after}
            done"
        )
    }

    #[test]
    fn a_program_signs_like_the_key_that_it_has() {
        let folder = tempfile::tempdir().unwrap();
        let key = SeedSigner::new([7; 32]).unwrap();
        let starts = || fs::read_to_string(folder.path().join("sign.starts")).unwrap().lines().count();
        let signer = ProgramSigner::start(&program(folder.path(), &script("")), SIGNING_TIMEOUT).unwrap();
        assert_eq!(signer.public_key(), key.public_key());
        for message in [&[1; 32][..], b"x", &[2; 4096]] {
            assert_eq!(sign_with(&signer, message).unwrap(), key.sign(message).unwrap());
        }
        assert_eq!(starts(), 1);
        drop(signer);

        // A program may end after each answer.
        let signer = ProgramSigner::start(&program(folder.path(), &script("exit")), SIGNING_TIMEOUT).unwrap();
        for message in [[1; 32], [2; 32]] {
            assert_eq!(sign_with(&signer, &message).unwrap(), key.sign(&message).unwrap());
        }
        assert_eq!(starts(), 4);
    }

    #[test]
    fn a_program_that_fails_gives_one_sentence_and_no_signature() {
        let folder = tempfile::tempdir().unwrap();
        let key = *SeedSigner::new([7; 32]).unwrap().public_key();
        let other = format!("read -r line; echo ok {}", "00".repeat(64));
        let late = "read -r line; echo error the token is locked; sleep 600";
        for (script, retryable, expected) in [
            ("read -r line; echo 'error the module is locked'", true, "it says: \"the module is locked\""),
            (late, true, "the token is locked"),
            ("echo PIN 4711 >&2; exit 7", true, "ended without an answer"),
            ("read -r line; echo PIN 4711", false, "something else"),
            ("read -r line; echo ok 4711", false, "a signature of 128 hex digits"),
            ("read -r line; echo", false, "something else"),
            ("yes 'PIN 4711'", false, "without a request"),
            ("tr '\\0' 4711 < /dev/zero", false, "without a request"),
            ("printf 'ok \\377\\376\\n'; sleep 600", false, "without a request"),
            (&other, false, "does not hold"),
            ("exec sleep 600", true, "no answer in 1 s"),
            ("sleep 600 & sleep 600", true, "no answer in 1 s"),
        ] {
            let path = program(folder.path(), script);
            let signer = ProgramSigner::of_key(&path, key).with_timeout(Duration::from_secs(1));
            // Programs that print without a request have done so.
            let started = Running::start(&path).map(|running| {
                if script.contains("600") && !script.contains("printf") || script.contains("read") {
                    return;
                }
                thread::sleep(Duration::from_millis(300));
                *signer.running.lock().unwrap() = Some(running);
            });
            assert!(started.is_ok());
            let error = sign_with(&signer, &[1; 32]).unwrap_err();
            let message = error.to_string();
            assert!(message.contains(expected) && !message.contains('\n'), "{script}: {message}");
            assert!(!message.contains("4711"), "{script}: {message}");
            assert_eq!(error.retryable, retryable, "{script}: {message}");
        }
        let missing = ProgramSigner::of_key(&folder.path().join("absent"), key);
        assert!(
            sign_with(&missing, &[1; 32]).unwrap_err().to_string().contains("cannot start: No such file")
        );
        let long = sign_with(&missing, &vec![0; MAX_MESSAGE_BYTES + 1]).unwrap_err();
        assert!(long.to_string().contains("too long"), "{long}");
        let weak = format!("read -r line; echo ok 01{}", "00".repeat(31));
        let error = ProgramSigner::start(&program(folder.path(), &weak), SIGNING_TIMEOUT).unwrap_err();
        assert!(error.to_string().contains("weak key"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_ends_with_the_programs_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let key = *SeedSigner::new([7; 32]).unwrap().public_key();
        let path = program(folder.path(), "sleep 600 & echo $! > $0.pid; wait");
        let signer = ProgramSigner::of_key(&path, key).with_timeout(Duration::from_millis(900));
        signer.sign(&[1; 32]).unwrap_err();
        let id = fs::read_to_string(folder.path().join("sign.pid")).unwrap();
        let state = || fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
        for _ in 0..100 {
            if state().is_empty() || state().contains(") Z") {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", state());
    }

    #[test]
    fn a_program_that_leaves_its_process_group_is_ended_too() {
        let folder = tempfile::tempdir().unwrap();
        let key = *SeedSigner::new([7; 32]).unwrap().public_key();
        let leave = "exec perl -e 'setpgrp(0, getpgrp(getppid())) or die; $|=1; print \"x\\n\" if <STDIN>; <STDIN>; sleep 600'";
        let signer = ProgramSigner::of_key(&program(folder.path(), leave), key);
        let (ended, end) = sync_channel(1);
        thread::spawn(move || ended.send(signer.sign(&[1; 32]).unwrap_err().to_string()));
        let error = end.recv_timeout(Duration::from_secs(60)).unwrap();
        assert!(error.contains("something else"), "{error}");
    }

    #[test]
    fn a_program_that_cannot_be_killed_does_not_block_the_caller() {
        let folder = tempfile::tempdir().unwrap();
        let path = program(folder.path(), "cat > /dev/null; echo end > $0.end");
        let Ok(mut running) = Running::start(&path) else { panic!("{}", path.display()) };
        let child = running.child.take().unwrap();
        let id = child.id();
        // No signal reaches it, and it goes on.
        reap(child, Duration::from_millis(50));
        assert!(!folder.path().join("sign.end").exists());
        drop(running);
        for _ in 0..1000 {
            if !Path::new(&format!("/proc/{id}")).exists() {
                assert!(folder.path().join("sign.end").exists());
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("the program goes on, or nobody has waited for it");
    }

    #[test]
    fn a_program_gets_no_pin() {
        let command = command(Path::new("/opt/sign"));
        for variable in [PIN_VARIABLE, FORMER_PIN_VARIABLE] {
            assert!(command.get_envs().any(|(name, value)| name == variable && value.is_none()));
        }
    }
}
