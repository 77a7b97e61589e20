//! Keys in a token (SoftHSM2) and in a program: keygen, inspect-key, sign-record, update sign, push, the log, an archive.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Folder;
use crate::serve::{Served, get};

/// A directory with a token of its own, and the file of its PIN.
pub(crate) struct Token {
    pub(crate) folder: Folder,
    pub(crate) library: String,
}

impl Token {
    pub(crate) fn new() -> Token {
        let folder = Folder::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers/softhsm");
        let made = Command::new(script).arg("token").arg(folder.path(".")).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        private(&folder, "pin", "4711\n", 0o600);
        Token { folder, library: String::from_utf8(made.stdout).unwrap().trim().to_owned() }
    }

    /// Makes a key, and returns its public key.
    pub(crate) fn keygen(&self, label: &str) -> String {
        let run = self.folder.eds(&format!(
            "--json keygen --device lift-01 --pkcs11 pkcs11:token=site%207;object={label} --module {} --pin-file pin",
            self.library
        ));
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        let key = run.envelope()["key"].clone();
        assert_eq!(key["token"], format!("pkcs11:token=site%207;object={label}"));
        key["public_key"].as_str().unwrap().to_owned()
    }

    /// Returns a URI that names all that is needed.
    pub(crate) fn uri(&self, label: &str) -> String {
        let pin = self.folder.path("pin");
        format!(
            "pkcs11:token=site%207;object={label}?module-path={}&pin-source=file:{}",
            self.library,
            pin.display()
        )
    }
}

fn private(folder: &Folder, name: &str, text: &str, mode: u32) {
    folder.write(name, text);
    std::fs::set_permissions(folder.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Writes the program `sign`, which has the key of the seed file `program.seed`, and returns its public key.
pub(crate) fn program(folder: &Folder) -> String {
    let run = folder.eds("--json keygen --output program.seed");
    let key = run.envelope()["key"]["public_key"].as_str().unwrap().to_owned();
    let seed = folder.read("program.seed");
    folder
        .write("sign.der", hex::decode(format!("302e020100300506032b657004220420{}", seed.trim())).unwrap());
    let script = format!(
        "#!/bin/sh
        while read -r request message; do
            case $request in
            public-key) echo ok {key} ;;
            sign)
                perl -e 'print pack \"H*\", shift' \"$message\" > $0.message
                echo ok $(openssl pkeyutl -sign -rawin -keyform DER -inkey $0.der -in $0.message | od -An -v -tx1 | tr -d ' \\n') ;;
            esac
        done\n"
    );
    private(folder, "sign", &script, 0o700);
    key
}

#[test]
fn records_are_signed_by_a_token_and_by_a_program() {
    let token = Token::new();
    let folder = &token.folder;
    folder.write("1.bin", "door open");
    let keys = [
        (token.keygen("lift-01"), format!("--key {}", token.uri("lift-01"))),
        (program(folder), "--signer sign".to_owned()),
    ];
    for (key, named) in keys {
        let run = folder.eds(&format!("--json inspect-key {}", named.trim_start_matches("--key ")));
        assert_eq!(run.envelope()["key"]["public_key"], *key, "{}{}", run.stdout, run.stderr);
        for (scheme, file) in [("record", "a.json"), ("payload-hash", "b.json")] {
            let run = folder.eds(&format!(
                "sign-record {named} --device lift-01 --payload 1.bin --object-ref 1.bin --scheme {scheme}"
            ));
            assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
            folder.write(file, run.stdout);
            let run = folder
                .eds(&format!("verify-record {file} --public-key {key} --scheme {scheme} --payload 1.bin"));
            assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        }
    }
}

#[test]
fn a_key_that_cannot_be_used_is_one_sentence_without_the_pin() {
    let token = Token::new();
    let folder = &token.folder;
    token.keygen("lift-01");
    folder.write("1.bin", "door open");
    private(folder, "wrong", "9999\n", 0o600);
    private(folder, "open", "4711\n", 0o644);
    private(folder, "locked", "#!/bin/sh\nread -r request\necho error the module is locked\n", 0o700);
    let library = &token.library;
    let uri = "pkcs11:token=site%207;object=lift-01";
    for (named, exit, code, expected) in [
        (format!("--key {uri} --module {library} --pin-file wrong"), 2, "signer", "the PIN is wrong"),
        (format!("--key {uri} --module {library} --pin-file open"), 2, "signer", "chmod 600"),
        (format!("--key {uri} --module {library}"), 2, "signer", "EDS_PKCS11_PIN"),
        (format!("--key {uri} --pin-file pin"), 2, "signer", "the library of the token"),
        (format!("--key {uri}?pin-value=4711 --module {library}"), 2, "usage", "pin-source"),
        (format!("--key {uri}x --module {library} --pin-file pin"), 2, "signer", "no Ed25519 private key"),
        (format!("--key pkcs11:token=x --module {library} --pin-file pin"), 3, "signer", "no attached token"),
        ("--signer locked".to_owned(), 3, "signer", "the module is locked"),
        ("--signer absent".to_owned(), 2, "signer", "cannot start"),
        ("--signer sign --key lift-01.seed".to_owned(), 2, "usage", "cannot be used with"),
        (String::new(), 2, "usage", "--key or --signer"),
    ] {
        let run = folder
            .eds(&format!("--json sign-record {named} --device lift-01 --payload 1.bin --object-ref 1.bin"));
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(
            (run.code, run.envelope()["error"]["code"].as_str()),
            (exit, Some(code)),
            "{named}: {said}"
        );
        assert!(said.contains(expected), "{named}: {said}");
        assert!(!said.contains("9999") && !said.contains("4711"), "{said}");
    }
    let run = folder.eds(&format!("keygen {uri}?pin-value=4711"));
    assert!(run.code == 2 && !run.stderr.contains("4711"), "{}", run.stderr);
    // A second key of this name would make the first one ambiguous.
    let again = format!("--json keygen --pkcs11 {uri} --module {library} --pin-file pin");
    let run = folder.eds(&again);
    assert!(run.code == 2 && run.stdout.contains("is not replaced"), "{}", run.stdout);
    let mut with_variable = folder.command();
    let output = with_variable
        .env("EDS_PKCS11_PIN", "4711")
        .args(["inspect-key", uri, "--module", library])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn an_update_and_a_log_are_signed_by_a_token() {
    let token = Token::new();
    let folder = &token.folder;
    let (first, second) = (token.keygen("publisher"), program(folder));
    folder.write("image.bin", "firmware");
    let run = folder.eds(&format!(
        "--json update sign image.bin --name door --version 1 --expires 2099-01-01T00:00:00Z \
         --key {} --signer sign --output image.manifest",
        token.uri("publisher")
    ));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let mut signers = [first, second];
    signers.sort();
    let said = run.envelope()["update"]["signers"].clone();
    assert_eq!(said, serde_json::json!(signers));

    let key = token.keygen("log");
    folder.write(
        "eds.toml",
        format!(
            "ledger = \"sqlite:ledger.db\"\n[log]\norigin = \"log.example/lifts\"\nkey = \"{}\"\n",
            token.uri("log")
        ),
    );
    let run = folder.eds(&format!("device register lift-01 --public-key {key} --config eds.toml"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    for command in ["checkpoint init", "checkpoint"] {
        let run = folder.eds(&format!("--json {command} --config eds.toml"));
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    }
    let run = folder.eds("--json checkpoint status --config eds.toml");
    let verifier = run.envelope()["checkpoint"]["verifier_keys"][0].as_str().unwrap().to_owned();
    folder.write("policy.txt", format!("log {verifier}\nquorum none\n"));
    let run = folder.eds("prove head lift-01 --config eds.toml -o head.proof");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let run = folder.eds("verify-proof head.proof --policy policy.txt");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}

/// Returns the value of a metric.
fn metric(served: &Served, name: &str) -> f64 {
    let answer = get(served.address(), "/metrics");
    let line = answer.lines().find(|line| line.starts_with(&format!("{name} ")));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

fn wait(mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_log_whose_token_hangs_admits_records_and_recovers() {
    let token = Token::new();
    let folder = &token.folder;
    token.keygen("log");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../device/tests/c/faulty_token.c");
    let library = folder.path("faulty.so");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.unwrap().success());
    let key = token.uri("log").replace(&token.library, library.to_str().unwrap());
    std::fs::create_dir(folder.path("log")).unwrap();
    folder.write(
        "eds.toml",
        format!(
            "[log]\norigin = \"log.example/lifts\"\nkey = \"{key}\"\nstore = \"folder:log\"\ninterval_seconds = 1\n"
        ),
    );
    let faulty = |mut command: Command| {
        command.env("EDGESENTRY_TEST_TOKEN_LIBRARY", &token.library);
        command.env("EDGESENTRY_TEST_TOKEN_FAULT", folder.path("fault"));
        command.env("EDS_CONFIG", "eds.toml");
        command
    };
    let public = folder.eds("--json keygen --device lift-01").envelope()["key"]["public_key"].clone();
    let public = public.as_str().unwrap();
    let run = folder.eds(&format!("device register lift-01 --public-key {public}"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let init = faulty(folder.command()).args(["checkpoint", "init"]).output().unwrap();
    assert!(init.status.success(), "{}", String::from_utf8_lossy(&init.stderr));

    let served = Served::start(faulty(folder.command()), "127.0.0.1:0");
    std::fs::create_dir_all(folder.path("payloads/lift-01")).unwrap();
    let mut sequence = 0;
    let mut push = || {
        sequence += 1;
        folder.write("payload", format!("door {sequence}"));
        folder.write(&format!("payloads/lift-01/{sequence}.bin"), format!("door {sequence}"));
        let after = if sequence > 1 { "--after chain.ndjson" } else { "" };
        let run = folder.eds(&format!(
            "sign-record --key lift-01.seed --device lift-01 --payload payload --object-ref lift-01/{sequence}.bin {after}"
        ));
        assert_eq!(run.code, 0, "{}", run.stderr);
        folder.write("chain.ndjson", &run.stdout);
        let url = served.url();
        let run = folder.eds(&format!("--json push --url {url} --payloads payloads chain.ndjson"));
        assert_eq!(run.envelope()["push"]["accepted"], 1, "{}", run.stdout);
    };
    push();
    let size = || metric(&served, "edgesentry_log_checkpoint_size");
    wait(|| size() > 0.0);
    folder.write("fault", "sign");
    push();
    wait(|| folder.path("fault.hung").exists());
    let before = size();
    for _ in 0..3 {
        push();
    }
    assert_eq!(size(), before, "signed without the token");
    std::fs::remove_file(folder.path("fault")).unwrap();
    wait(|| metric(&served, "edgesentry_log_records_waiting") == 0.0 && size() > before);
    // A signature that does not hold is not published.
    folder.write("fault", "wrong");
    push();
    wait(|| {
        let answer = get(served.address(), "/metrics");
        answer.contains("edgesentry_log_stopped{code=\"log_signer\"} 1\n")
    });
    let before = size();
    std::fs::remove_file(folder.path("fault")).unwrap();
    wait(|| size() > before);
}
