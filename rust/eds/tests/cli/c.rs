//! A device in C: it signs, keeps and sends records to `eds serve`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::serve::Served;
use crate::token::Token;
use crate::{Folder, Run};

/// Compiles examples/c/push.c with the library of this build.
fn compile(folder: &Folder) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let binary = std::env::current_exe().unwrap();
    let library = binary.parent().unwrap().join("libedgesentry.a");
    let program = folder.path("push");
    let done = Command::new("cc")
        .arg("-I")
        .arg(root.join("rust/capi/include"))
        .arg(root.join("examples/c/push.c"))
        .arg(library)
        .args(["-lgcc_s", "-lutil", "-lrt", "-lpthread", "-lm", "-ldl", "-o"])
        .arg(&program)
        .status();
    assert!(done.unwrap().success());
    program
}

fn push(folder: &Folder, key: &str, address: (&str, &str), payload: &str) -> Run {
    let mut command = folder.command_of(folder.path("push").to_str().unwrap());
    let output = command.args([key, "outbox.db", address.0, address.1, payload]).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_device_in_c_keeps_its_records_until_the_service_has_them() {
    let folder = Folder::new();
    let key = folder.eds("--json keygen --device lift-01").envelope()["key"]["public_key"].clone();
    device(&folder, "lift-01.seed", key.as_str().unwrap());
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
    let run = push(&token.folder, &uri, ("127.0.0.1", "9"), "open");
    assert!(run.code == 1 && run.stderr.contains("pkcs11:token=site%207"), "{}", run.stderr);
    std::fs::rename(token.folder.path("away"), &tokens).unwrap();
    let run = push(&token.folder, &uri, ("127.0.0.1", "9"), "open");
    assert_eq!(run.stdout, "0 accepted, 0 wait\n", "{}", run.stderr);
}

fn device(folder: &Folder, named: &str, key: &str) {
    compile(folder);
    let run = folder.eds(&format!("device register lift-01 --key {key} --scheme record"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);

    let nobody = push(folder, named, ("127.0.0.1", "9"), "open");
    assert_eq!((nobody.code, nobody.stdout.as_str()), (1, "0 accepted, 0 wait\n"));
    assert!(nobody.stderr.contains("unreachable"), "{}", nobody.stderr);
    let served = Served::start(folder.command(), "127.0.0.1:0");
    let address = served.address().rsplit_once(':').unwrap();
    let run = push(folder, named, address, "closed");
    assert_eq!((run.code, run.stdout.as_str()), (0, "2 accepted, 0 wait\n"), "{}", run.stderr);
    let run = push(folder, named, address, "open");
    assert_eq!((run.code, run.stdout.as_str()), (0, "1 accepted, 0 wait\n"), "{}", run.stderr);
    drop(served);
    let run = folder.eds("verify-chain --ledger --registered --payload-store --json");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.envelope()["report"]["coverage"]["records"], 3);
}
