//! The schedules in deploy/: `eds` accepts every command line in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

/// Returns the files of a directory by their names, with their text.
fn files(folder: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(deploy(folder)).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
    };
    entries.map(named).collect()
}

/// Returns the units of a kind, by the name before the dot.
fn units(extension: &str) -> Vec<(String, String)> {
    let units = files("systemd").into_iter();
    units.filter_map(|(name, text)| Some((name.strip_suffix(extension)?.to_owned(), text))).collect()
}

/// Returns the values of a setting of a unit.
fn values<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

/// Checks that `eds` accepts a command line of a unit or cron.
fn accept(place: &str, line: &str) {
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/eds"), "{place}: {line}");
    let arguments = std::iter::once("eds").chain(words).map(Into::into);
    eds::parses(arguments).unwrap_or_else(|why| panic!("{place}: {line}\n{why}"));
}

/// The settings of every unit; cron has them as EDS_CONFIG.
const CONFIG: &str = "/etc/eds/ops.toml";

/// Returns the commands of the cron files, without time and user.
fn cron() -> Vec<String> {
    let mut commands = Vec::new();
    for (name, text) in files("cron") {
        let is_job = |line: &&str| line.starts_with(|first: char| first.is_ascii_digit() || first == '*');
        for line in text.lines().filter(is_job) {
            let fields: Vec<&str> = line.splitn(7, ' ').collect();
            let [times @ .., user, command] = fields.as_slice() else { panic!("{name}: {line}") };
            let in_time = |field: &&str| field.chars().all(|c| c.is_ascii_digit() || "*,-/".contains(c));
            assert!(times.len() == 5 && times.iter().all(in_time), "{name}: {line}");
            assert!(["postgres", "edgesentry"].contains(user), "{name}: {line}");
            // The result is recorded as OnFailure= and OnSuccess= of the units do.
            let noted = |part: &&str| !part.contains("note-unit");
            let command = command.split(" && ").filter(noted).collect::<Vec<_>>().join(" && ");
            let command = command.replace("$eds", "/usr/local/bin/eds").replace("$EDS_CONFIG", CONFIG);
            commands.push(command.trim_end_matches(" >/dev/null").to_owned());
        }
    }
    commands
}

#[test]
fn scheduled_jobs_run_valid_commands() {
    let services = ["eds.service", "eds-monitor.service", "eds-witness.service"]
        .map(|name| (name.to_owned(), std::fs::read_to_string(deploy(name)).unwrap()));
    for (name, unit) in units(".service").into_iter().chain(services) {
        let lines = values(&unit, "ExecStart");
        assert!(!lines.is_empty(), "{name}");
        for line in lines {
            accept(&name, line);
        }
    }
    for line in cron() {
        line.split(" && ").for_each(|line| accept("cron", line));
    }
}

/// Returns the command lines that the Helm chart renders with everything on.
fn chart() -> Vec<String> {
    let root = deploy("..");
    let output = Command::new(root.join(".venv/bin/helm"))
        .arg("template")
        .arg("audit")
        .arg(deploy("helm/edgesentry"))
        .arg("--values")
        .arg(root.join("tests/helm/everything.yaml"))
        .output()
        .expect(".venv/bin/helm is missing: run make venv");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // The chart writes the arguments of `eds` as JSON, those of other programs as a list of YAML.
    let arguments = text.lines().filter_map(|line| line.trim().strip_prefix("args: ["));
    let line = |rest: &str| serde_json::from_str::<Vec<String>>(&format!("[{rest}")).unwrap().join(" ");
    arguments.map(|rest| format!("/usr/local/bin/eds {}", line(rest))).collect()
}

#[test]
fn the_chart_runs_valid_commands() {
    let lines = chart();
    for line in &lines {
        accept("chart", line);
    }
    for wanted in ["serve", "ops receive-wal", "ops retention --apply", "drill db-restore --archive"] {
        assert!(lines.iter().any(|line| line.contains(wanted)), "{wanted}: {lines:#?}");
    }
}

/// Reports that count as evidence, by timers, cron and the chart.
#[test]
fn reports_of_drills_are_signed_and_expire() {
    let units = units(".service");
    let timed = units.iter().flat_map(|(_, unit)| values(unit, "ExecStart")).map(str::to_owned);
    let (mut filed, mut removed) = (0, 0);
    for line in timed.chain(cron()).chain(chart()) {
        if line.contains(" --report-dir ") {
            assert!(line.contains(" --sign-config /etc/eds/"), "{line}");
            filed += 1;
        }
        if line.contains(" drill report ") {
            assert!(line.contains(" --remove-expired"), "{line}");
            removed += 1;
        }
    }
    assert_eq!((filed, removed), (6, 3));
}

#[test]
fn timers_and_cron_run_the_same() {
    let mut timed = BTreeSet::new();
    let services = units(".service");
    for (name, timer) in units(".timer") {
        assert_eq!(values(&timer, "OnCalendar").len(), 1, "{name}");
        assert_eq!(values(&timer, "WantedBy"), ["timers.target"], "{name}");
        let (_, service) = services.iter().find(|(service, _)| *service == name).expect(&name);
        assert_eq!(values(service, "Type"), ["oneshot"], "{name}");
        let commands = values(service, "ExecStart").join(" && ");
        timed.insert(commands.replace(&format!(" --config {CONFIG}"), ""));
        assert_eq!(values(service, "OnFailure"), ["edgesentry-failed@%n.service"], "{name}");
        assert_eq!(values(service, "OnSuccess"), ["edgesentry-succeeded@%n.service"], "{name}");
    }
    assert_eq!(timed, cron().into_iter().collect());
    // Units that no timer starts run all the time.
    let always: Vec<&str> = services
        .iter()
        .filter(|(_, service)| !values(service, "WantedBy").is_empty())
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(always, ["edgesentry-receive-wal"]);
    let templates = services.iter().filter(|(name, _)| name.ends_with('@')).count();
    assert_eq!(services.len(), units(".timer").len() + always.len() + templates);
}

#[test]
fn the_runbook_names_every_unit() {
    let page = |name: &str| std::fs::read_to_string(deploy("../docs/runbook").join(name)).unwrap();
    let pages = page("backup.md") + &page("drills.md");
    for (name, _) in files("systemd").into_iter().filter(|(name, _)| !name.ends_with(".service")) {
        assert!(pages.contains(&name), "{name}");
    }
    for (name, _) in files("cron") {
        assert!(pages.contains(&format!("deploy/cron/{name}")), "{name}");
    }
}

#[test]
fn systemd_accepts_every_unit() {
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    let monitor = std::fs::read_to_string(deploy("eds-monitor.service")).unwrap();
    for (name, text) in files("systemd").into_iter().chain([("eds-monitor.service".to_owned(), monitor)]) {
        if name.ends_with(".service") || name.ends_with(".timer") {
            // systemd-analyze checks that the program exists.
            let text = text.replace("/usr/local/bin/eds", env!("CARGO_BIN_EXE_eds"));
            std::fs::write(folder.path().join(&name), text).unwrap();
            // A template is checked as one of its instances.
            names.push(name.replace("@.", "@edgesentry-backup."));
        }
    }
    let mut analyze = std::process::Command::new("systemd-analyze");
    analyze.args(["verify", "--man=no", "--recursive-errors=no"]);
    analyze.args(names.iter().map(|name| folder.path().join(name)));
    let output = analyze.output().expect("systemd-analyze is missing; on Debian: apt install systemd");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("edgesentry"), "{said}");
}
