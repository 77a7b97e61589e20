//! A device in C: it signs, keeps and sends records to `eds serve`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::serve::Served;
use crate::token::Token;
use crate::{Folder, Run};

/// An address without a service.
const NOBODY: &str = "http://127.0.0.1:9";

/// Compiles examples/c/push.c with the library of this build.
fn compile(folder: &Folder) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let binary = std::env::current_exe().unwrap();
    let library = binary.parent().unwrap().join("libedgesentry.a");
    let program = folder.path("push");
    let done = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-I"])
        .arg(root.join("rust/capi/include"))
        .arg(root.join("examples/c/push.c"))
        .arg(library)
        .args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-o"])
        .arg(&program)
        .status();
    assert!(done.unwrap().success());
    program
}

/// Runs push with these variables of the environment; under valgrind unless it uses SoftHSM, which leaks, or TLS, whose
/// assembly valgrind does not understand.
fn push_with(folder: &Folder, key: &str, url: &str, payload: &str, variables: &[(&str, &str)]) -> Run {
    let mut command = folder.command_of("env");
    if key.ends_with(".seed") && url.starts_with("http://") {
        let leaks = ["--leak-check=full", "--show-leak-kinds=definite", "--errors-for-leak-kinds=definite"];
        command.args(["valgrind", "--quiet", "--error-exitcode=9"]).args(leaks);
    }
    command.arg(folder.path("push")).args([key, "outbox.db", url, payload]);
    command.env_remove("EDS_TOKEN").envs(variables.iter().copied());
    let output = command.output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn push(folder: &Folder, key: &str, url: &str, payload: &str) -> Run {
    push_with(folder, key, url, payload, &[])
}

fn register(folder: &Folder, key: &str) {
    let run = folder.eds(&format!("device register lift-01 --public-key {key} --scheme record"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
}

/// Makes a seed file, and returns its public key.
fn keygen(folder: &Folder) -> String {
    let key = folder.eds("--json keygen --device lift-01").envelope()["key"]["public_key"].clone();
    key.as_str().unwrap().to_owned()
}

#[test]
fn a_device_in_c_keeps_its_records_until_the_service_has_them() {
    let folder = Folder::new();
    let key = keygen(&folder);
    device(&folder, "lift-01.seed", &key);
    // A key that cannot be used is named, and nothing is signed.
    let run = push(&folder, "lift-02.seed", NOBODY, "open");
    assert!(run.code == 1 && run.stderr.starts_with("key: lift-02.seed: "), "{}", run.stderr);
}

#[test]
fn a_device_in_c_whose_key_is_in_a_token_does_the_same() {
    let token = Token::new();
    let key = token.keygen("lift-01");
    let uri = token.uri("lift-01");
    device(&token.folder, &uri, &key);
    // Without its token the device signs nothing, and loses nothing.
    let tokens = token.folder.path("tokens");
    std::fs::rename(&tokens, token.folder.path("away")).unwrap();
    let run = push(&token.folder, &uri, NOBODY, "open");
    assert!(run.code == 1 && run.stderr.contains("pkcs11:token=site%207"), "{}", run.stderr);
    std::fs::rename(token.folder.path("away"), &tokens).unwrap();
    let run = push(&token.folder, &uri, NOBODY, "open");
    assert_eq!(run.stdout, "0 accepted, 0 wait\n", "{}", run.stderr);
}

fn device(folder: &Folder, named: &str, key: &str) {
    compile(folder);
    register(folder, key);
    let nobody = push(folder, named, NOBODY, "open");
    assert_eq!((nobody.code, nobody.stdout.as_str()), (1, "0 accepted, 0 wait\n"), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("unreachable"), "{}", nobody.stderr);
    let served = Served::start(folder.command(), "127.0.0.1:0");
    let run = push(folder, named, served.url(), "closed");
    assert_eq!((run.code, run.stdout.as_str()), (0, "2 accepted, 0 wait\n"), "{}", run.stderr);
    let run = push(folder, named, served.url(), "open");
    assert_eq!((run.code, run.stdout.as_str()), (0, "1 accepted, 0 wait\n"), "{}", run.stderr);
    drop(served);
    verify(folder, 3);
}

fn verify(folder: &Folder, records: u64) {
    let run = folder.eds("verify-chain --ledger --registered --payload-store --json");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.envelope()["report"]["coverage"]["records"], records);
}

/// Makes an authority and a certificate of it for 127.0.0.1.
fn certificates(folder: &Folder) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=site -days 2 \
                  -keyout ca.key -out ca.pem
                  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=service \
                  -keyout server.key -out server.csr
                  echo subjectAltName=IP:127.0.0.1 > names
                  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
                  -out server.pem
                  chmod 600 server.key";
    let made = folder.command_of("sh").args(["-ec", script]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_device_in_c_sends_over_https_with_a_token() {
    let folder = Folder::new();
    compile(&folder);
    let key = keygen(&folder);
    register(&folder, &key);
    certificates(&folder);
    let token =
        folder.eds("--json token lift-01 --scope ingest --device lift-01").envelope()["token"].clone();
    folder.write(
        "eds.toml",
        format!(
            "[serve.tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
             [serve.tokens.lift-01]\nhash = {}\nscopes = [\"ingest\"]\ndevices = [\"lift-01\"]\n",
            token["hash"]
        ),
    );
    let mut command = folder.command();
    command.env("EDS_CONFIG", "eds.toml");
    let served = Served::start(command, "127.0.0.1:0");
    let token = token["token"].as_str().unwrap();
    let authority = folder.path("ca.pem");
    let trust = ("SSL_CERT_FILE", authority.to_str().unwrap());
    for (variables, expected) in [
        (&[][..], "certificate"),
        (&[trust][..], "unauthenticated"),
        (&[trust, ("EDS_TOKEN", "eds_0000")][..], "unauthenticated"),
    ] {
        let run = push_with(&folder, "lift-01.seed", served.url(), "open", variables);
        assert!(run.code == 1 && run.stderr.to_lowercase().contains(expected), "{}", run.stderr);
        assert!(!run.stderr.contains("eds_"), "{}", run.stderr);
    }
    let with_token = [trust, ("EDS_TOKEN", token)];
    let run = push_with(&folder, "lift-01.seed", served.url(), "open", &with_token);
    assert_eq!((run.code, run.stdout.as_str()), (0, "4 accepted, 0 wait\n"), "{}", run.stderr);
    // A token crosses no network without TLS.
    let run = push_with(&folder, "lift-01.seed", "http://audit.example", "open", &with_token);
    assert!(run.code == 1 && run.stderr.contains("plain text; use https://"), "{}", run.stderr);
    assert!(!run.stderr.contains(token), "{}", run.stderr);
    drop(served);
    verify(&folder, 4);
}
