//! A device in C: it signs, keeps and sends records to `eds serve`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::serve::Served;
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

fn push(folder: &Folder, address: (&str, &str), payload: &str) -> Run {
    let mut command = folder.command_of(folder.path("push").to_str().unwrap());
    let output = command.args(["lift-01.seed", "outbox.db", address.0, address.1, payload]).output().unwrap();
    Run {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn a_device_in_c_keeps_its_records_until_the_service_has_them() {
    let folder = Folder::new();
    compile(&folder);
    let key = folder.eds("--json keygen --device lift-01").envelope()["key"]["public_key"].clone();
    let key = key.as_str().unwrap();
    let run = folder.eds(&format!("device register lift-01 --key {key} --scheme record"));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);

    let nobody = push(&folder, ("127.0.0.1", "9"), "open");
    assert_eq!((nobody.code, nobody.stdout.as_str()), (1, "0 accepted, 0 wait\n"));
    assert!(nobody.stderr.contains("unreachable"), "{}", nobody.stderr);
    let served = Served::start(folder.command(), "127.0.0.1:0");
    let address = served.address().rsplit_once(':').unwrap();
    let run = push(&folder, address, "closed");
    assert_eq!((run.code, run.stdout.as_str()), (0, "2 accepted, 0 wait\n"), "{}", run.stderr);
    let run = push(&folder, address, "open");
    assert_eq!((run.code, run.stdout.as_str()), (0, "1 accepted, 0 wait\n"), "{}", run.stderr);
    drop(served);
    let run = folder.eds("verify-chain --ledger --registered --payload-store --json");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.envelope()["report"]["coverage"]["records"], 3);
}
