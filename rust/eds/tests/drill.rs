//! `eds drill` on real servers, in the short form: everything that must work on a fresh clone.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Returns the command, with a temporary directory of its own, which must be empty at the end. SIGINT reaches it,
/// even if the test runner ignores it.
fn eds(temporary: &Path) -> Command {
    let mut eds = Command::new("env");
    eds.args(["--default-signal=INT", env!("CARGO_BIN_EXE_eds")]);
    for name in std::env::vars_os().map(|(name, _)| name) {
        if name.to_string_lossy().starts_with("EDS_") {
            eds.env_remove(name);
        }
    }
    eds.env("TMPDIR", temporary);
    eds
}

/// Creates a directory that servers of another user may enter.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn all_drills_pass_and_leave_their_reports_behind() {
    let (temporary, folder) = (folder(), folder());
    let (reports, metrics) = (folder.path().join("reports"), folder.path().join("drills.prom"));
    let mut all = eds(temporary.path());
    all.args(["--json", "drill", "all", "--short", "--report-dir"]).arg(&reports);
    let output = all.arg("--metrics-file").arg(&metrics).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    let envelope: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(envelope["drills"]["passed"], 5, "{stdout}");
    assert_eq!(names(temporary.path()), [""; 0], "nothing is left behind");

    let files = names(&reports);
    assert_eq!(files.iter().filter(|file| file.ends_with(".json")).count(), 5, "{files:?}");
    assert!(files.iter().any(|file| file.starts_with("all-") && file.ends_with(".html")), "{files:?}");
    let metrics = std::fs::read_to_string(&metrics).unwrap();
    for drill in ["db-failover", "db-restore", "rpo", "s3-object-recovery", "alert-fire"] {
        let success = format!("edgesentry_drill_partial_last_success_timestamp_seconds{{drill=\"{drill}\"}}");
        assert!(metrics.contains(&success), "{metrics}");
    }
    assert!(!metrics.contains("edgesentry_drill_last_"), "short runs count for no alert: {metrics}");

    let failover =
        files.iter().find(|file| file.starts_with("db-failover-") && file.ends_with(".json")).unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(reports.join(failover)).unwrap()).unwrap();
    assert_eq!(report["extent"], "short");
    assert_eq!((&report["options"]["records"], &report["options"]["load"]), (&"500".into(), &"200".into()));
    assert_eq!(report["versions"]["eds"], env!("CARGO_PKG_VERSION"));
    assert!(report["versions"]["PostgreSQL"].as_str().unwrap().contains("PostgreSQL"), "{report}");
    assert!(!report["host"]["name"].as_str().unwrap().is_empty(), "{report}");
    assert!(report["ended_at_ms"].as_u64().unwrap() > report["started_at_ms"].as_u64().unwrap(), "{report}");

    let report = eds(temporary.path()).args(["drill", "report"]).arg(&reports).output().unwrap();
    let text = String::from_utf8_lossy(&report.stdout);
    assert_eq!(report.status.code(), Some(3), "short runs count for no quarter: {text}");
    assert!(text.contains("| rpo | 0 | 0 | never | - | 1 | "), "{text}");
}

/// The test above runs all drills on the system's version.
#[test]
fn the_drills_pass_on_each_version_of_postgresql() {
    let (temporary, folder) = (folder(), folder());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers/postgres");
    let bins = Command::new(script).arg("bins").arg(folder.path().join("postgres")).output().unwrap();
    assert!(bins.status.success(), "{}", String::from_utf8_lossy(&bins.stderr));
    let bins = String::from_utf8(bins.stdout).unwrap();
    let own = edgesentry_ops::postgres::Programs::find(None).unwrap().major();
    for bin in bins.trim().split(':') {
        let major = edgesentry_ops::postgres::Programs::find(Some(Path::new(bin))).unwrap().major();
        if major == own {
            continue;
        }
        for drill in ["db-failover --records 100 --load 50", "db-restore --records 1000", "rpo --seconds 2"] {
            let mut eds = eds(temporary.path());
            let output =
                eds.arg("drill").args(drill.split(' ')).args(["--postgres-bin", bin]).output().unwrap();
            let said = format!(
                "PostgreSQL {major}: {}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
            assert_eq!(output.status.code(), Some(0), "{said}");
        }
    }
    assert_eq!(names(temporary.path()), [""; 0], "nothing is left behind");
}

#[test]
fn one_alert_of_many_is_a_partial_drill() {
    let (temporary, folder) = (folder(), folder());
    let (reports, metrics) = (folder.path().join("reports"), folder.path().join("drills.prom"));
    let mut drill = eds(temporary.path());
    drill.args(["drill", "alert-fire", "--alert", "ChainBreak", "--report-dir"]).arg(&reports);
    let output = drill.arg("--metrics-file").arg(&metrics).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains(", partial: it does not count as the full drill"), "{stdout}");
    let metrics = std::fs::read_to_string(&metrics).unwrap();
    assert!(
        metrics.contains("edgesentry_drill_partial_last_success_timestamp_seconds{drill=\"alert-fire\"}")
    );
    assert!(!metrics.contains("edgesentry_drill_last_"), "{metrics}");
    let report = eds(temporary.path()).args(["drill", "report"]).arg(&reports).output().unwrap();
    let text = String::from_utf8_lossy(&report.stdout);
    assert!(text.contains("| alert-fire | 0 | 0 | never | - | 1 | "), "{text}");
}

#[test]
fn an_interrupted_drill_leaves_no_server_and_no_file_behind() {
    let temporary = folder();
    let mut drill = eds(temporary.path());
    drill.args(["drill", "db-failover", "--records", "100", "--load", "1000000000"]);
    let mut drill = drill.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(drill.stderr.take().unwrap()).lines();
    // From here on a load runs that would not end by itself.
    said.by_ref().map(Result::unwrap).find(|line| line.contains("the ledger holds")).unwrap();
    assert!(!names(temporary.path()).is_empty());
    let sent = Command::new("kill").args(["-INT", &drill.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let rest: Vec<String> = said.map(Result::unwrap).collect();
    assert_eq!(drill.wait().unwrap().code(), Some(130), "{rest:?}");
    assert_eq!(names(temporary.path()), [""; 0], "nothing is left behind");
}

/// A primary and its synchronous standby with the commands that control them, as tests/runbook/cluster.sh makes them;
/// stopped when dropped.
struct Site {
    folder: TempDir,
    path: String,
}

impl Site {
    fn start() -> Site {
        let programs = edgesentry_ops::postgres::Programs::find(None).unwrap();
        let path = format!("{}:{}", programs.folder().display(), std::env::var("PATH").unwrap());
        let site = Site { folder: folder(), path };
        let scene = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/runbook/cluster.sh");
        site.shell(&format!("set -e; . '{}'", scene.display()));
        site
    }

    fn shell(&self, script: &str) -> String {
        let mut bash = Command::new("bash");
        self.set(&mut bash);
        // Started servers would keep a pipe open.
        let said = self.folder.path().join("said");
        let log = std::fs::File::create(&said).unwrap();
        bash.args(["-c", script]).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let status = bash.status().unwrap();
        let said = std::fs::read_to_string(said).unwrap();
        assert!(status.success(), "{script}: {said}");
        said
    }

    fn set(&self, command: &mut Command) {
        let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/servers");
        command.current_dir(self.folder.path()).env("PATH", &self.path).env("SERVERS", servers);
    }

    fn drill(&self, temporary: &Path, more: &[&str]) -> Command {
        let mut drill = eds(temporary);
        self.set(&mut drill);
        drill.args(["drill", "db-failover", "--cluster", "staging.toml", "--stop-command", "./stop"]);
        drill.args(["--rejoin-command", "./rejoin", "--records", "100", "--load", "50"]).args(more);
        drill
    }

    /// Waits for a state: a standby replays the received log a little later.
    fn becomes(&self, expected: [&str; 2], after: &str) {
        for _ in 0..600 {
            if self.state() == expected {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{:?}, not {expected:?}: {after}", self.state());
    }

    /// Returns the state of two servers: whether each is a standby, and the number of its drill databases.
    fn state(&self) -> [String; 2] {
        ["one", "two"].map(|name| {
            let question = "SELECT pg_is_in_recovery(), (SELECT count(*) FROM pg_database WHERE datname LIKE 'edgesentry_drill%')";
            let url = "postgres://edgesentry:$(sed 's/=/%3D/g' one/password)@127.0.0.1:$(cat NAME/port)/postgres";
            let url = url.replace("NAME", name);
            self.shell(&format!("psql -XAt \"{url}\" -c \"{question}\"")).trim().to_owned()
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shell(
            "for name in one two; do \"$SERVERS/postgres\" stop \"$PWD/$name\" immediate || true; done",
        );
    }
}

#[test]
fn the_cluster_of_a_site_fails_over_and_is_whole_again() {
    let (temporary, site) = (folder(), Site::start());
    let fence = ["--fence-command", "./fence"];
    let said = |output: &std::process::Output| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };

    // Without consent production stays unchanged.
    let asked = site.drill(temporary.path(), &fence).output().unwrap();
    assert_eq!(asked.status.code(), Some(2), "{}", said(&asked));
    assert!(
        said(&asked).contains("touches: the primary postgres://edgesentry@127.0.0.1:"),
        "{}",
        said(&asked)
    );
    assert!(said(&asked).contains("pass --yes; nothing was changed"), "{}", said(&asked));
    let mut production = site.drill(temporary.path(), &fence);
    let production = production.args(["--yes"]).env("EDS_OPS__PRODUCTION", "true").output().unwrap();
    assert_eq!(production.status.code(), Some(2), "{}", said(&production));
    assert!(said(&production).contains("ops.production is true"), "{}", said(&production));
    site.becomes(["f|0", "t|0"], "nothing was changed");

    let reports = site.folder.path().join("reports");
    let mut held = site.drill(temporary.path(), &fence);
    let held = held.args(["--yes", "--report-dir"]).arg(&reports).output().unwrap();
    assert_eq!(held.status.code(), Some(0), "{}", said(&held));
    site.becomes(["t|0", "f|0"], &said(&held));
    let report = names(&reports).into_iter().find(|name| name.ends_with(".json")).unwrap();
    let report = std::fs::read_to_string(reports.join(report)).unwrap();
    let password = std::fs::read_to_string(site.folder.path().join("one/password")).unwrap();
    assert!(report.contains("db-failover-cluster") && !report.contains(password.trim()), "{report}");

    // Interrupted in the middle, it goes on until there is a cluster again.
    let mut drill = site.drill(temporary.path(), &["--fence-command", "sleep 1; ./fence", "--yes"]);
    let mut drill = drill.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(drill.stderr.take().unwrap()).lines();
    lines.by_ref().map(Result::unwrap).find(|line| line.contains("the primary is stopped,")).unwrap();
    assert!(Command::new("kill").args(["-INT", &drill.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(drill.wait().unwrap().code(), Some(130), "{rest:?}");
    site.becomes(["f|0", "t|0"], &format!("{rest:?}"));

    // Without a fence the standby is not promoted; the primary is started as it was.
    let start = "\"$SERVERS/postgres\" start \"$(./server_of \"$DRILL_PRIMARY\")\"";
    let unfenced = ["--fence-command", "echo unreachable; false", "--start-command", start, "--yes"];
    let unfenced = site.drill(temporary.path(), &unfenced).output().unwrap();
    assert_eq!(unfenced.status.code(), Some(3), "{}", said(&unfenced));
    assert!(said(&unfenced).contains("it was not fenced, so nothing was promoted"), "{}", said(&unfenced));
    site.becomes(["f|0", "t|0"], &said(&unfenced));
    assert_eq!(names(temporary.path()), [""; 0], "nothing is left behind");
}

/// Returns the keys of all versions and delete markers in a bucket.
async fn versions(client: &aws_sdk_s3::Client, bucket: &str) -> Vec<String> {
    let page = client.list_object_versions().bucket(bucket).send().await.unwrap();
    let versions = page.versions().iter().map(|version| version.key().unwrap().to_owned());
    versions.chain(page.delete_markers().iter().map(|marker| marker.key().unwrap().to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_of_a_site_is_left_as_it_was() {
    use edgesentry_ops::s3::{Bucket, Holds, Setup};
    use edgesentry_ops::servers::{SeaweedFs, find_weed};

    let (temporary, site) = (folder(), folder());
    let server = SeaweedFs::start(&find_weed(None).unwrap()).unwrap();
    let client = server.settings().client().await.unwrap();
    let drill = |bucket: &str, more: &[&str]| {
        let config = site.path().join(format!("{bucket}.toml"));
        std::fs::write(&config, format!("payloads = \"s3://{bucket}\"\n")).unwrap();
        let mut drill = eds(temporary.path());
        drill.envs(server.variables()).args(["drill", "s3-object-recovery", "--records", "12"]);
        let output = drill.arg("--bucket").arg(&config).args(more).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), said)
    };

    // Without versions nothing can be restored.
    client.create_bucket().bucket("plain").send().await.unwrap();
    let (code, said) = drill("plain", &["--yes"]);
    assert!(code == 2 && said.contains("versioning is off"), "{said}");

    // A bucket whose versions any user may delete: everything is restored, the drill fails, nothing is left.
    client.create_bucket().bucket("versions").send().await.unwrap();
    let on = aws_sdk_s3::types::VersioningConfiguration::builder()
        .status(aws_sdk_s3::types::BucketVersioningStatus::Enabled)
        .build();
    client.put_bucket_versioning().bucket("versions").versioning_configuration(on).send().await.unwrap();
    let body = aws_sdk_s3::primitives::ByteStream::from_static(b"x");
    client.put_object().bucket("versions").key("devices/lift-01/0/1-x").body(body).send().await.unwrap();
    let (code, said) = drill("versions", &[]);
    assert!(code == 2 && said.contains("pass --yes"), "{said}");
    let (code, said) = drill("versions", &["--yes"]);
    assert_eq!(code, 1, "{said}");
    let failed: Vec<&str> = said.lines().filter(|line| line.starts_with("  failed ")).collect();
    assert_eq!(failed, ["  failed   no version of a payload can be deleted"], "{said}");
    assert_eq!(versions(&client, "versions").await, ["devices/lift-01/0/1-x"]);

    // Object Lock keeps the drill's own objects, and nothing else is touched.
    let bucket = Bucket::new("locked", &server.settings()).await.unwrap();
    Setup { holds: Holds::Payloads, retention_days: 1, replication: None, existing: false }
        .run(&bucket, true)
        .await
        .unwrap();
    let (code, said) = drill("locked", &["--yes"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("are kept by the store"), "{said}");
    let kept = versions(&client, "locked").await;
    assert!(
        !kept.is_empty() && kept.iter().all(|key| key.starts_with("devices/edgesentry-drill-")),
        "{kept:?}"
    );
    assert_eq!(names(temporary.path()), [""; 0], "nothing is left behind");
}

#[test]
fn a_report_that_was_changed_after_it_was_signed_is_found() {
    let (temporary, folder) = (folder(), folder());
    let eds = || {
        let mut eds = eds(temporary.path());
        eds.current_dir(folder.path());
        eds.env("WEED", edgesentry_ops::servers::find_weed(None).unwrap());
        eds
    };
    let run = |line: &str| {
        let output = eds().args(line.split(' ')).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap(), said)
    };
    let (code, said) = run("keygen --device operations");
    assert_eq!(code, 0, "{said}");
    let key = said.lines().find_map(|line| line.strip_prefix("public key  ")).unwrap().trim().to_owned();
    let drill = "drill s3-object-recovery --report-dir reports --keep-days 400 --sign-key operations.seed";
    let (code, said) = run(drill);
    assert_eq!(code, 0, "{said}");
    let report =
        names(&folder.path().join("reports")).into_iter().find(|name| name.ends_with(".json")).unwrap();
    let report = format!("reports/{report}");
    let verify = format!("drill verify-report {report} --public-key {key}");
    assert_eq!(run(&verify).0, 0, "{}", run(&verify).1);
    // The command for records gives the same result without knowing drills.
    let record = format!("verify-record {report}.sig --public-key {key} --scheme record --payload {report}");
    assert_eq!(run(&record).0, 0, "{}", run(&record).1);
    let quarter = format!("drill report reports --public-key {key}");
    assert!(run(&quarter).1.contains("| s3-object-recovery | 1 | 1 |"), "{}", run(&quarter).1);

    let path = folder.path().join(&report);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"keep_until_ms\": "), "{text}");
    std::fs::write(&path, text.replace("\"recovery_seconds\"", "\"recovery_minutes\"")).unwrap();
    let (code, said) = run(&verify);
    assert!(code == 1 && said.contains("NOT VALID") && said.contains("of another report"), "{said}");
    assert_eq!(run(&quarter).0, 1, "{}", run(&quarter).1);
    // The key of the settings; settings without a key sign nothing, which is not an error.
    let signed = |settings: &str, reports: &str| {
        std::fs::write(folder.path().join("ops.toml"), settings).unwrap();
        let drill = "drill s3-object-recovery --records 10 --sign-config ops.toml --report-dir";
        let (code, said) = run(&format!("{drill} {reports}"));
        assert_eq!(code, 0, "{said}");
        names(&folder.path().join(reports)).iter().any(|name| name.ends_with(".json.sig"))
    };
    assert!(signed("[ops]\nsigning_key = \"operations.seed\"\n", "configured"));
    assert!(!signed("[ops]\n", "unsigned"));
    let refused = drill.replace("operations.seed", "nowhere.seed");
    assert_eq!(run(&refused).0, 2, "{}", run(&refused).1);
}

#[test]
fn a_missing_program_is_one_sentence_before_a_server_starts() {
    for args in [
        &["drill", "db-failover", "--postgres-bin", "/nowhere"][..],
        &["drill", "s3-object-recovery", "--weed", "/nowhere/weed"],
        &["drill", "db-restore", "--eds", "/nowhere/eds"],
    ] {
        let temporary = folder();
        let output = eds(temporary.path()).args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("/nowhere"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}
