//! Destinations of output: never an input, never a file in place of a stream.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::process::Stdio;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::{Folder, Run, fleet, ledger};

fn refused(run: &Run) -> bool {
    run.code == 2 && run.stdout.is_empty() && run.stderr.contains("another file")
}

#[test]
fn no_output_replaces_an_input() {
    let (folder, _) = fleet(200);
    std::fs::copy(folder.path("export.ndjson"), folder.path("feb.ndjson")).unwrap();
    std::fs::hard_link(folder.path("export.ndjson"), folder.path("hard.ndjson")).unwrap();
    symlink("export.ndjson", folder.path("link.ndjson")).unwrap();
    symlink("keys.json", folder.path("link-to-keys")).unwrap();
    let names = ["export.ndjson", "feb.ndjson", "keys.json", "heads.json"];
    let before = names.map(|name| folder.read(name));
    let absolute = folder.path("export.ndjson").display().to_string();
    for line in [
        "verify-chain --html export.ndjson export.ndjson",
        "verify-chain --html export.ndjson export.ndjson feb.ndjson",
        "verify-chain --junit ./feb.ndjson export.ndjson feb.ndjson",
        "verify-chain --sarif hard.ndjson export.ndjson",
        "verify-chain --sarif link.ndjson export.ndjson",
        "verify-chain --html export.ndjson link.ndjson",
        &format!("verify-chain --html {absolute} export.ndjson"),
        "verify-chain export.ndjson --keys keys.json --junit keys.json",
        "verify-chain export.ndjson --keys link-to-keys --junit keys.json",
        "verify-chain export.ndjson --heads heads.json --html heads.json",
        "verify-chain export.ndjson --start-heads heads.json --html heads.json",
        "heads export.ndjson -o export.ndjson",
        "heads feb.ndjson -o feb.ndjson",
        "heads export.ndjson --keys keys.json -o keys.json",
        "heads link.ndjson -o hard.ndjson",
        "verify-chain export.ndjson --html report --junit report",
        "verify-chain export.ndjson --html report --sarif ./report",
    ] {
        let run = folder.eds(line);
        assert!(refused(&run), "{line}: {} {}{}", run.code, run.stdout, run.stderr);
        assert_eq!(names.map(|name| folder.read(name)), before, "{line}");
        assert!(!folder.path("report").exists(), "{line}");
    }
    let run = folder.eds("--json heads export.ndjson -o export.ndjson");
    assert_eq!(run.envelope()["error"]["code"], "output_refused");
    // A file as stdin is an input, too.
    let stdin = std::fs::File::open(folder.path("export.ndjson")).unwrap();
    let done = folder.command().args(["heads", "-", "-o", "export.ndjson"]).stdin(stdin).output().unwrap();
    assert_eq!(done.status.code(), Some(2), "{done:?}");
    assert_eq!(folder.read("export.ndjson"), before[0]);
}

#[test]
fn no_output_replaces_a_ledger_or_a_payload() {
    let (folder, _) = ledger(100);
    std::fs::write(folder.path("settings.toml"), "ledger = \"edgesentry.db\"\n").unwrap();
    std::fs::copy(folder.path("edgesentry.db"), folder.path("other.db")).unwrap();
    let before = std::fs::read(folder.path("edgesentry.db")).unwrap();
    for line in [
        "heads --ledger edgesentry.db -o edgesentry.db",
        "heads --ledger edgesentry.db -o edgesentry.db-wal",
        "heads --ledger edgesentry.db -o edgesentry.db-shm",
        "heads --ledger edgesentry.db -o edgesentry.db-journal",
        "heads --ledger edgesentry.db --config settings.toml -o settings.toml",
        // Not the database of this run, but a database all the same.
        "heads --ledger edgesentry.db -o other.db",
        "heads --ledger edgesentry.db -o other.db-wal",
        "heads export.ndjson -o edgesentry.db",
        "device keys --ledger edgesentry.db -o edgesentry.db",
        "verify-chain --ledger edgesentry.db --html edgesentry.db",
        "verify-chain export.ndjson --html edgesentry.db-wal",
    ] {
        let run = folder.eds(line);
        assert!(refused(&run), "{line}: {} {}{}", run.code, run.stdout, run.stderr);
        assert_eq!(std::fs::read(folder.path("edgesentry.db")).unwrap(), before, "{line}");
        assert!(!folder.path("other.db-wal").exists(), "{line}");
    }
    let run = folder.eds("verify-chain export.ndjson --payloads payloads --html payloads/report.html");
    assert_eq!((run.code, run.stderr.contains("write it elsewhere")), (2, true), "{}", run.stderr);
    assert!(!folder.path("payloads/report.html").exists());
}

#[test]
fn a_report_replaces_only_a_report_of_its_kind() {
    let (folder, _) = fleet(100);
    // As if the shell had expanded `--html *.ndjson`.
    let records = folder.read("export.ndjson");
    folder.write("jan.ndjson", &records);
    for option in ["--html", "--junit", "--sarif"] {
        let run = folder.eds(&format!("verify-chain {option} jan.ndjson export.ndjson"));
        assert!(run.code == 2 && run.stderr.contains("name another file"), "{option}: {}", run.stderr);
        assert_eq!(folder.read("jan.ndjson"), records);
        folder.write("report", "");
        for _ in 0..2 {
            let run = folder.eds(&format!("verify-chain {option} report export.ndjson"));
            assert_eq!(run.code, 0, "{option}: {}", run.stderr);
        }
    }
    std::fs::create_dir(folder.path("drills")).unwrap();
    for option in ["--html", "--markdown"] {
        let run = folder.eds(&format!("drill report drills {option} jan.ndjson"));
        assert!(run.code == 2 && run.stderr.contains("name another file"), "{option}: {}", run.stderr);
        assert_eq!(folder.read("jan.ndjson"), records);
    }
    // An earlier report is replaced.
    for _ in 0..2 {
        let run = folder.eds("drill report drills --markdown drills.md --html drills.html");
        assert!(!run.stderr.contains("name another file"), "{}", run.stderr);
    }
}

#[test]
fn links_are_written_through_and_streams_are_written_to() {
    let (folder, _) = fleet(100);
    folder.write("target.json", "before");
    symlink("target.json", folder.path("link.json")).unwrap();
    symlink("later.json", folder.path("dangling.json")).unwrap();
    symlink("b", folder.path("a")).unwrap();
    symlink("a", folder.path("b")).unwrap();
    let expected = folder.eds("heads export.ndjson").stdout;
    for (name, target) in [("link.json", "target.json"), ("dangling.json", "later.json")] {
        folder.write("target.json", &expected);
        assert_eq!(folder.eds(&format!("heads export.ndjson -o {name}")).code, 0, "{name}");
        assert!(folder.path(name).symlink_metadata().unwrap().is_symlink());
        assert_eq!(folder.read(target), expected);
    }
    let run = folder.eds("heads export.ndjson -o a");
    assert_eq!((run.code, run.stderr.contains("loop")), (3, true), "{}", run.stderr);
    let run = folder.eds("heads export.ndjson -o .");
    assert_eq!((run.code, run.stderr.contains("directory")), (2, true), "{}", run.stderr);

    mknodat(CWD, folder.path("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    for command in ["heads export.ndjson -o fifo", "verify-chain export.ndjson --html fifo"] {
        let fifo = folder.path("fifo");
        let reader = std::thread::spawn(move || std::fs::read_to_string(fifo).unwrap());
        assert_eq!(folder.eds(command).code, 0);
        assert!(!reader.join().unwrap().is_empty());
        assert!(folder.path("fifo").metadata().unwrap().file_type().is_fifo(), "{command}");
    }
    for place in ["-", "/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"] {
        let run = folder.eds(&format!("heads export.ndjson -o {place}"));
        assert_eq!((run.code, &run.stdout), (0, &expected), "{place}: {}", run.stderr);
    }
    assert!(!folder.path("-").exists());
    assert!(folder.eds("heads export.ndjson -o /dev/null").code == 0);
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    let run = folder.eds("keygen --device lift-01 --output -");
    assert_eq!((run.code, run.stdout.as_str(), folder.path("-").exists()), (2, "", false));
}

#[test]
fn exports_go_to_stdout_and_to_fifos() {
    let (folder, _) = ledger(100);
    let expected = folder.eds("export --format ndjson").stdout;
    for line in ["export -o - --format ndjson", "export -o /dev/stdout --format ndjson"] {
        let run = folder.eds(line);
        assert_eq!((run.code, &run.stdout), (0, &expected), "{line}: {}", run.stderr);
    }
    let run = folder.eds("export -o -");
    assert_eq!((run.code, run.stderr.contains("--format")), (2, true), "{}", run.stderr);
    mknodat(CWD, folder.path("fifo.ndjson"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let fifo = folder.path("fifo.ndjson");
    let reader = std::thread::spawn(move || std::fs::read_to_string(fifo).unwrap());
    let run = folder.eds("export -o fifo.ndjson");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(reader.join().unwrap(), expected);
    assert!(!folder.path("fifo.ndjson.manifest.json").exists());
    let run = folder.eds("export -o export.json --format ndjson");
    assert_eq!(run.code, 2, "{}", run.stderr);
}

#[test]
fn nothing_predictable_is_opened_or_left_behind() {
    let (folder, _) = ledger(100);
    // A link with the name that a predictable temporary file would have.
    folder.write("victim", "before");
    let mut command = folder.command();
    let mut child = command.args(["heads", "-", "-o", "heads.json"]).stdin(Stdio::piped()).spawn().unwrap();
    symlink("victim", folder.path(&format!("heads.json.{}.part", child.id()))).unwrap();
    let export = std::fs::read(folder.path("export.ndjson")).unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &export).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(folder.read("victim"), "before");
    assert!(!folder.path("heads.json").symlink_metadata().unwrap().is_symlink());
}

#[test]
fn a_folder_that_cannot_be_written_leaves_no_half_of_a_seed() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("keys")).unwrap();
    assert_eq!(folder.eds("keygen --device a --output keys/a.seed").code, 0);
    let seed = folder.path("keys/a.seed");
    assert_eq!(seed.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(folder.eds("keygen --device a --output keys/a.seed").code, 2);
    let names: Vec<_> = std::fs::read_dir(folder.path("keys")).unwrap().collect();
    assert_eq!(names.len(), 1);
}
