//! Every marked command of docs/runbook is executed, page by page, and its output compared.
//!
//! In a page, a block "sh run" (or "sh run exit=3") is executed and the block "text output" after it is the expected
//! output on stdout and stderr: `…` stands for anything within a line, a line `...` for any lines. All blocks of a
//! page run in one shell, in an empty directory, after the script `PAGE.sh` of this directory has prepared it.
#![allow(clippy::unwrap_used)]

mod page;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use edgesentry_ops::postgres::Programs;
use page::{Block, blocks, matches};

/// The timeout of a page on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// One test a page; the last test compares the list with the directory.
macro_rules! pages {
    ($($page:ident),* $(,)?) => {
        const PAGES: &[&str] = &[$(stringify!($page)),*];
        $(#[test]
        fn $page() {
            execute(stringify!($page), None);
        })*
    };
}

pages!(archive, backup, drills, failover, log, managed, patroni, pgbackrest, restore, s3);

/// The same page once more, with the programs of another PostgreSQL.
macro_rules! pages_on {
    ($($test:ident: $page:ident on $major:literal),* $(,)?) => {
        $(#[test]
        #[cfg(target_os = "linux")]
        fn $test() {
            execute(stringify!($page), Some($major));
        })*
    };
}

pages_on!(
    backup_on_17: backup on 17,
    backup_on_18: backup on 18,
    failover_on_17: failover on 17,
    failover_on_18: failover on 18,
    managed_on_18: managed on 18,
    restore_on_17: restore on 17,
    restore_on_18: restore on 18,
);

#[test]
fn every_page_with_commands_is_executed() {
    for entry in std::fs::read_dir(runbook()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let has_commands = !blocks(&std::fs::read_to_string(&path).unwrap()).unwrap().is_empty();
        assert!(!has_commands || PAGES.contains(&&*name), "{}: no test executes it", path.display());
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn runbook() -> PathBuf {
    root().join("docs/runbook")
}

/// Returns the programs of a version that scripts/servers/with has installed, or those of the system.
fn programs(major: Option<u32>) -> Programs {
    let Some(major) = major else { return Programs::find(None).unwrap() };
    let bins = std::env::var_os("EDGESENTRY_TEST_POSTGRES_BINS").expect("run me by scripts/servers/with");
    let versions = std::env::split_paths(&bins).map(|bin| Programs::find(Some(&bin)).unwrap());
    let found = versions.into_iter().find(|programs| programs.major() == major);
    found.unwrap_or_else(|| panic!("PostgreSQL {major} is not among {}", bins.display()))
}

fn execute(page: &str, major: Option<u32>) {
    let file = format!("docs/runbook/{page}.md");
    let text = std::fs::read_to_string(root().join(&file)).unwrap();
    assert!(!text.contains("```sh\n"), "{file}: a block of commands is not marked for execution");
    let blocks = blocks(&text).unwrap();
    assert!(!blocks.is_empty(), "{file}: no block is marked for execution");
    let folder = tempfile::tempdir().unwrap();
    // Servers run as another user, which needs access.
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let said = shell(page, major, folder.path(), &blocks);
    for (number, block) in blocks.iter().enumerate() {
        let place = format!("{file}, line {}:\n{}", block.line, block.script);
        let begin = format!("@@begin {number}@@");
        let output = said.split_once(&begin).map(|(_, rest)| rest);
        let output = output.unwrap_or_else(|| panic!("{place}was not reached; all output:\n{said}"));
        let end = format!("@@end {number} ");
        let (output, rest) =
            output.split_once(&end).unwrap_or_else(|| panic!("{place}did not end:\n{output}"));
        let code: i32 = rest.split_once("@@").unwrap().0.parse().unwrap();
        assert_eq!(code, block.code, "{place}ended with this code and said:\n{output}");
        if let Some(expected) = &block.expected {
            assert!(matches(expected, output), "{place}wrote:\n{}\nnot:\n{expected}", output.trim());
        }
    }
}

/// Runs the blocks in one shell; returns their output.
fn shell(page: &str, major: Option<u32>, folder: &Path, blocks: &[Block]) -> String {
    let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/runbook/{page}.sh"));
    let mut script = format!("exec 2>&1\nset -e\n. '{}'\nset +e\n", scene.display());
    for (number, block) in blocks.iter().enumerate() {
        script.push_str(&format!(
            "printf '\\n@@begin {number}@@\\n'\n{}\nprintf '\\n@@end {number} %s@@\\n' \"$?\"\n",
            block.script
        ));
    }
    let (bin, work, output) = (folder.join("bin"), folder.join("work"), folder.join("output"));
    std::fs::create_dir(&bin).unwrap();
    std::fs::create_dir(&work).unwrap();
    std::fs::write(folder.join("script.sh"), script).unwrap();
    // A copy: another user may not have access to the project's directory.
    std::fs::copy(env!("CARGO_BIN_EXE_eds"), bin.join("eds")).unwrap();
    let programs = programs(major);
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", bin.display(), programs.folder().display());
    let mut command = Command::new("bash");
    for name in std::env::vars_os().map(|(name, _)| name) {
        if ["EDS_", "PG"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    let log = std::fs::File::create(&output).unwrap();
    let mut child = command
        .arg(folder.join("script.sh"))
        .current_dir(&work)
        .env("PATH", path)
        .env("POSTGRES_BIN", programs.folder())
        .env("SERVERS", root().join("scripts/servers"))
        .env("PROJECT", root())
        .env("WEED", edgesentry_ops::servers::find_weed(None).unwrap())
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(log)
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > TIMEOUT {
            // The trap of the page's script stops its servers.
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
            panic!("{page}: not done in time; its output:\n{}", std::fs::read_to_string(&output).unwrap());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    String::from_utf8_lossy(&std::fs::read(&output).unwrap()).into_owned()
}
