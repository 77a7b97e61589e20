//! Keys in a token: SoftHSM2, which `scripts/servers/install` installs.
#![cfg(all(feature = "pkcs11", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use edgesentry_device::signer::{Pin, Pkcs11Signer, Pkcs11Uri, generate, sign_with};
use edgesentry_device::{Device, PublicKey, Scheme, Signer};

const LIBRARY: &str = "EDGESENTRY_TEST_TOKEN_LIBRARY";
const FOLDER: &str = "EDGESENTRY_TEST_TOKEN_FOLDER";
/// The file with the fault of the library of tests/c/faulty_token.c.
const FAULT: &str = "EDGESENTRY_TEST_TOKEN_FAULT";
const PIN: &str = "4711";

/// A token of its own for a test.
struct Token {
    folder: PathBuf,
    library: String,
}

/// Runs this test again in a process whose library finds a new token; returns the token there, and `None` here.
fn token(test: &str) -> Option<Token> {
    if let (Some(library), Some(folder)) = (std::env::var(LIBRARY).ok(), std::env::var_os(FOLDER)) {
        return Some(Token { folder: folder.into(), library });
    }
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers/softhsm");
    let made = Command::new(script).arg("token").arg(folder.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("SOFTHSM2_CONF", folder.path().join("softhsm2.conf"))
        .env(LIBRARY, String::from_utf8(made.stdout).unwrap().trim())
        .env(FOLDER, folder.path())
        .env(FAULT, folder.path().join("fault"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.contains("1 passed"), "{out}{err}");
    println!("{out}");
    None
}

impl Token {
    fn uri(&self, path: &str) -> Pkcs11Uri {
        format!("pkcs11:{path}?module-path={}", self.library).parse().unwrap()
    }

    fn generate(&self, label: &str, id: u8) -> Result<PublicKey, String> {
        let uri = self.uri(&format!("token=site%207;object={label}"));
        generate(&uri, pin(PIN), &[id; 8]).map_err(|error| error.to_string())
    }

    /// Opens a key through the library of tests/c/faulty_token.c.
    fn open_faulty(&self, path: &str) -> Result<Pkcs11Signer, String> {
        let library = self.folder.join("faulty.so");
        if !library.exists() {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/faulty_token.c");
            let compiled =
                Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
            assert!(compiled.unwrap().success());
        }
        let uri = format!("pkcs11:{path}?module-path={}", library.display());
        Pkcs11Signer::open(uri.parse().unwrap(), pin(PIN)).map_err(|error| error.to_string())
    }

    fn fault(&self, fault: &str) {
        fs::write(self.folder.join("fault"), fault).unwrap();
    }

    /// Waits until a function of the library hangs.
    fn wait_for_the_fault(&self) {
        let hung = self.folder.join("fault.hung");
        while !hung.exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn heal(&self) {
        fs::remove_file(self.folder.join("fault")).unwrap();
    }

    fn open(&self, path: &str) -> Result<Pkcs11Signer, String> {
        Pkcs11Signer::open(self.uri(path), pin(PIN)).map_err(|error| error.to_string())
    }
}

fn pin(pin: &str) -> Option<Pin> {
    Some(Pin::Value(pin.to_owned().into()))
}

#[test]
fn a_device_signs_with_a_key_that_never_leaves_its_token() {
    let Some(token) = token("a_device_signs_with_a_key_that_never_leaves_its_token") else { return };
    let key = token.generate("lift-01", 1).unwrap();
    let signer = token.open("token=site%207;object=lift-01").unwrap();
    assert_eq!(*signer.public_key(), key);
    let signer = Arc::new(signer);
    for scheme in [Scheme::Record, Scheme::PayloadHash] {
        let mut device = Device::from_signer("lift-01", signer.clone(), scheme);
        assert_eq!((device.public_key(), device.seed()), (Ok(key), None));
        for sequence in 1..=3 {
            let record = device.sign_ref(sequence, b"door closed", "lift-01/1.bin").unwrap();
            assert!(record.has_valid_signature(&key, scheme) && record.sequence == sequence);
        }
    }
    // Ed25519 is deterministic, and a message may be longer than a digest.
    let text = [b'x'; 4096];
    assert_eq!(sign_with(&*signer, &text).unwrap(), sign_with(&*signer, &text).unwrap());
    assert!(signer.sign(&vec![0; 1 << 20]).unwrap_err().to_string().contains("too long"));

    // Many threads share a token, and several signers the session of the process.
    let again = Arc::new(token.open("object=lift-01;id=%01%01%01%01%01%01%01%01").unwrap());
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            let signer = if number % 2 == 0 { &signer } else { &again };
            scope.spawn(move || {
                for round in 0..20 {
                    sign_with(&**signer, &[number ^ round; 32]).unwrap();
                }
            });
        }
    });
    let debug = format!("{signer:?}");
    assert!(debug.contains("object=lift-01") && !debug.contains(PIN), "{debug}");
}

#[test]
fn a_key_that_is_not_found_is_one_sentence() {
    let Some(token) = token("a_key_that_is_not_found_is_one_sentence") else { return };
    token.generate("lift-01", 1).unwrap();
    token.generate("lift-02", 2).unwrap();
    for (made, expected) in [
        (token.generate("lift-01", 3), "is not replaced"),
        (token.generate("lift-03", 1), "is not replaced"),
        (token.open("token=site%207").map(|signer| *signer.public_key()), "2 private keys match"),
        (
            token.open("object=lift-03").map(|signer| *signer.public_key()),
            "no Ed25519 private key of this name",
        ),
        (token.open("token=other;object=lift-01").map(|signer| *signer.public_key()), "there are \"site 7\""),
        (
            token.open("serial=0;object=lift-01").map(|signer| *signer.public_key()),
            "no attached token matches",
        ),
    ] {
        let error = made.unwrap_err();
        assert!(error.contains(expected) && !error.contains('\n') && !error.contains(PIN), "{error}");
    }
    let of = |uri: &str, pin: Option<Pin>| {
        Pkcs11Signer::open(uri.parse().unwrap(), pin).map(drop).unwrap_err().to_string()
    };
    assert!(of("pkcs11:object=lift-01", None).contains("name the library"));
    assert!(of("pkcs11:object=lift-01?module-path=softhsm.so", None).contains("absolute path"));
    assert!(of("pkcs11:object=lift-01?module-path=/absent.so", None).contains("cannot load"));
    let uri = format!("pkcs11:object=lift-01?module-path={}", token.library);
    assert!(of(&uri, None).contains("requires a PIN"));
    let absent = format!("{uri}&pin-source=file:/absent");
    assert!(of(&absent, None).contains("/absent: cannot read the PIN"));
}

#[test]
fn a_pin_comes_from_a_file_and_a_wrong_one_is_tried_once() {
    let Some(token) = token("a_pin_comes_from_a_file_and_a_wrong_one_is_tried_once") else { return };
    let wrong = |uri: Pkcs11Uri| Pkcs11Signer::open(uri, pin("9999 hush")).map(drop).unwrap_err();
    let error = wrong(token.uri("token=site%207;object=lift-01"));
    assert!(!error.retryable && error.to_string().contains("the PIN is wrong"), "{error}");
    assert!(!format!("{error} {error:?}").contains("9999"), "{error:?}");

    let key = token.generate("lift-01", 1).unwrap();
    let file = token.folder.join("pin");
    fs::write(&file, format!("{PIN}\n")).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let uri = format!("pkcs11:object=lift-01?module-path={}&pin-source={}", token.library, file.display());
    let signer = Pkcs11Signer::open(uri.parse().unwrap(), None).unwrap();
    assert_eq!(*signer.public_key(), key);
    sign_with(&signer, &[1; 32]).unwrap();
}

#[test]
fn a_token_that_was_removed_signs_again_when_it_is_back() {
    let Some(token) = token("a_token_that_was_removed_signs_again_when_it_is_back") else { return };
    token.generate("lift-01", 1).unwrap();
    let mut device =
        Device::from_signer("lift-01", Arc::new(token.open("object=lift-01").unwrap()), Scheme::Record);
    let first = device.sign(1, b"door closed", "1.bin").unwrap();
    let (tokens, away) = (token.folder.join("tokens"), token.folder.join("away"));
    fs::rename(&tokens, &away).unwrap();
    let error = device.sign(2, b"door open", "2.bin").unwrap_err();
    assert!(error.to_string().starts_with("pkcs11:object=lift-01: "), "{error}");
    assert_eq!(device.head().map(|head| head.sequence), Some(1));
    fs::rename(&away, &tokens).unwrap();
    // SoftHSM looks for tokens only when it starts, as if its service had started again.
    cryptoki::context::Pkcs11::new(&token.library).unwrap().finalize().unwrap();
    let second = device.sign(2, b"door open", "2.bin").unwrap();
    assert_eq!((second.sequence, second.prev_record_hash), (2, first.hash()));
}

#[test]
fn a_library_that_hangs_while_it_starts_holds_up_no_other_token() {
    let Some(token) = token("a_library_that_hangs_while_it_starts_holds_up_no_other_token") else { return };
    let key = token.generate("lift-01", 1).unwrap();
    token.fault("initialize");
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| token.open_faulty("object=lift-01"));
        token.wait_for_the_fault();
        let signer = token.open("object=lift-01").unwrap();
        sign_with(&signer, &[1; 32]).unwrap();
        token.heal();
        assert_eq!(*hanging.join().unwrap().unwrap().public_key(), key);
    });
}

#[cfg(feature = "outbox")]
mod outbox {
    use async_trait::async_trait;
    use bytes::Bytes;
    use edgesentry_device::{Error, Outbox, Outcome, Sink, Submission};

    use super::*;

    /// A service that accepts everything.
    struct Accepting;

    #[async_trait]
    impl Sink for Accepting {
        async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
            submissions.iter().map(|_| Ok(Outcome::Accepted)).collect()
        }
    }

    #[tokio::test]
    async fn a_token_that_hangs_or_lies_costs_an_error_and_no_record() {
        let Some(token) = token("outbox::a_token_that_hangs_or_lies_costs_an_error_and_no_record") else {
            return;
        };
        token.generate("lift-01", 1).unwrap();
        let signer = token.open_faulty("object=lift-01").unwrap().with_timeout(Duration::from_secs(2));
        let device = Device::from_signer("lift-01", Arc::new(signer), Scheme::Record);
        let outbox = Outbox::open(&token.folder.join("outbox.db"), device).await.unwrap();
        let sign = || outbox.sign(1, Bytes::from_static(b"door closed"), "1.bin");
        let mut last = sign().await.unwrap();
        for (fault, expected, is_retryable) in [
            ("sign", "the token gave no answer in 2 s", true),
            ("login", "the token gave no answer in 2 s", true),
            ("wrong", "does not hold", false),
        ] {
            token.fault(fault);
            let error = sign().await.unwrap_err();
            assert_eq!((error.code(), error.is_retryable()), ("signer", is_retryable), "{error}");
            assert!(error.to_string().contains(expected), "{fault}: {error}");
            assert!(!format!("{error:?}").contains(PIN), "{error:?}");
            // Nothing was signed, and the record before leaves the outbox meanwhile.
            assert_eq!(outbox.head().await.unwrap().map(|head| head.hash), Some(last.hash()));
            assert_eq!(outbox.waiting().await.unwrap(), 1);
            assert_eq!(outbox.flush(&Accepting).await.unwrap().accepted, 1);
            token.heal();
            let record = loop {
                match sign().await {
                    Ok(record) => break record,
                    // The token is still busy with an earlier request.
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            };
            assert_eq!((record.sequence, record.prev_record_hash), (last.sequence + 1, last.hash()));
            last = record;
        }
    }
}

#[test]
fn the_rate_of_signatures_is_shown() {
    let Some(token) = token("the_rate_of_signatures_is_shown") else { return };
    token.generate("lift-01", 1).unwrap();
    let signer = Arc::new(token.open("object=lift-01").unwrap());
    let mut device = Device::from_signer("lift-01", signer, Scheme::Record);
    let begun = std::time::Instant::now();
    for sequence in 0..500 {
        device.sign_ref(sequence, b"door closed", "1.bin").unwrap();
    }
    println!("{:.0} records signed per second", 500.0 / begun.elapsed().as_secs_f64());
}
