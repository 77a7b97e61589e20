//! Configuring PostgreSQL changes the requested settings, but neither durability nor another archiver without an
//! option.

use std::os::unix::fs::PermissionsExt;

use crate::{Site, said, sentence};

/// Sets a setting that `eds` has not set, and waits until the server has read it.
fn set(site: &Site, name: &str, value: &str) {
    site.sql(&format!("ALTER SYSTEM SET {name} = '{value}';\nSELECT pg_reload_conf()"));
    wait_until_set(site, name, value);
}

fn wait_until_set(site: &Site, name: &str, value: &str) {
    let begin = std::time::Instant::now();
    while raw(site, name) != value {
        assert!(begin.elapsed() < std::time::Duration::from_secs(60), "{name} is {}", raw(site, name));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn raw(site: &Site, name: &str) -> String {
    site.sql(&format!("SELECT reset_val FROM pg_settings WHERE name = '{name}'"))
}

fn refused(site: &Site, line: &str, why: &str) {
    let output = site.ops(line);
    assert_eq!(output.status.code(), Some(2), "{line}: {}", said(&output));
    let error = sentence(&output);
    assert!(error.contains(why) && error.contains("nothing was changed"), "{line}: {error}");
}

#[test]
fn durability_and_other_archivers_stay_without_an_option() {
    let site = Site::start_with("off");
    let names = "ANY 1 (standby1, standby2)";
    set(&site, "synchronous_standby_names", names);
    set(&site, "synchronous_commit", "local");
    set(&site, "archive_timeout", "30");

    // Only the difference, with old and new; values beyond the required ones stay.
    let planned = site.ops("configure-postgres");
    assert_eq!(planned.status.code(), Some(3), "{}", said(&planned));
    let plan = said(&planned);
    assert!(plan.contains("ALTER SYSTEM SET synchronous_commit = 'on';  -- is 'local'"), "{plan}");
    assert!(plan.contains(&format!("-- synchronous_standby_names is '{names}'")), "{plan}");
    assert!(plan.contains("-- archive_timeout is '30s'"), "{plan}");
    assert!(plan.contains("run by the server as its user, works"), "{plan}");
    // From here on commits of psql would wait for the standby.
    set(&site, "synchronous_commit", "remote_apply");
    site.json("configure-postgres --apply", 0);
    assert_eq!(raw(&site, "synchronous_standby_names"), names);
    assert_eq!(raw(&site, "archive_timeout"), "30");
    assert_eq!(raw(&site, "synchronous_commit"), "remote_apply");

    refused(&site, "configure-postgres --no-standby --apply", "--weaken-durability");
    set(&site, "synchronous_standby_names", "FIRST 2 (standby1, standby2)");
    refused(&site, "configure-postgres --standby standby1 --apply", "--weaken-durability");
    site.json("configure-postgres --no-standby --weaken-durability --apply", 0);
    wait_until_set(&site, "synchronous_standby_names", "");

    // PostgreSQL shows a command as "(disabled)" while archiving is off.
    let other = "pgbackrest --stanza=main archive-push %p";
    set(&site, "archive_command", other);
    refused(&site, "configure-postgres --apply", "--replace-archiver");
    assert_eq!(raw(&site, "archive_command"), other);
    let planned = site.ops("configure-postgres");
    assert!(
        said(&planned).contains("archive_command is not changed: another archiver"),
        "{}",
        said(&planned)
    );
    set(&site, "archive_command", "");
    set(&site, "archive_library", "basic_archive");
    refused(&site, "configure-postgres --apply", "archive_library: another archiver");
    site.json("configure-postgres --replace-archiver --apply", 0);
    wait_until_set(&site, "archive_library", "");
    assert!(raw(&site, "archive_command").contains(" ops archive-wal "));
    assert!(said(&site.ops("configure-postgres --json")).contains("\"status\":\"passed\""));
}

#[test]
fn an_archive_command_that_the_server_cannot_run_is_not_set() {
    let site = Site::start_with("off");
    let before = raw(&site, "archive_command");
    let script = site.path("broken.sh");
    std::fs::write(&script, "#!/bin/sh\necho 'error: the archive is closed' >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    let broken = format!("configure-postgres --eds {}", script.display());
    refused(&site, &format!("{broken} --apply"), "the archive is closed");
    let planned = site.ops(&broken);
    assert_eq!(planned.status.code(), Some(3), "{}", said(&planned));
    assert!(said(&planned).contains("does not work: the archive is closed"), "{}", said(&planned));
    // Settings that root may read and the user of the server may not.
    if rustix::process::geteuid().is_root() {
        std::fs::copy(site.path("eds.toml"), site.path("private.toml")).unwrap();
        std::fs::set_permissions(site.path("private.toml"), PermissionsExt::from_mode(0o600)).unwrap();
        let output = site.with("private.toml", "configure-postgres --apply");
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains("private.toml") && said(&output).contains("nothing was changed"));
    }
    assert_eq!(raw(&site, "archive_command"), before);
}

#[test]
fn backups_and_dumps_need_only_client_programs() {
    let site = Site::start();
    let all = edgesentry_ops::postgres::Programs::find(None).unwrap().folder().to_owned();
    let client = site.path("client");
    std::fs::create_dir(&client).unwrap();
    // The programs of the client package.
    for name in ["psql", "pg_basebackup", "pg_dump", "pg_restore", "pg_receivewal", "pg_verifybackup"] {
        std::os::unix::fs::symlink(all.join(name), client.join(name)).unwrap();
    }
    let settings = site.settings(crate::BUCKET, "edgesentry-secret");
    site.write("client.toml", &format!("{settings}postgres_bin = \"{}\"\n", client.display()));
    for line in ["backup", "verify-backup", "dump", "verify-backup --dump", "backups"] {
        let output = site.with("client.toml", line);
        assert_eq!(output.status.code(), Some(0), "{line}: {}", said(&output));
    }
    let restore = format!("restore --drill --data {} --port 1", site.path("restored").display());
    let output = site.with("client.toml", &restore);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("install the server"), "{}", said(&output));
}
