//! Archives that an attacker can write, and archives that one can read: signatures, hostile backups, encryption.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use edgesentry_ops::postgres::Programs;
use edgesentry_ops::servers::free_port;
use edgesentry_rs::error::Component;
use edgesentry_rs::objects::{self, Object, Write as Put};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::{BUCKET, Site, said, stop};

impl Site {
    /// Writes an operations key that the server may read; returns it with its public key.
    pub(crate) fn signing_key(&self, name: &str) -> (PathBuf, String) {
        let path = self.path(name);
        let made = self.eds(&format!("keygen --json --output {}", path.display())).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        Programs::find(None).unwrap().own(&path).unwrap();
        (path, made["key"]["public_key"].as_str().unwrap().to_owned())
    }

    /// Writes settings with more lines for `[ops]`.
    pub(crate) fn configure(&self, file: &str, lines: &str) {
        self.write(file, &format!("{}{lines}\n", self.settings(BUCKET, "edgesentry-secret")));
    }

    fn in_archive<T, F: Future<Output = T>>(
        &self,
        work: impl FnOnce(std::sync::Arc<dyn objects::Objects>) -> F,
    ) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            work(
                objects::open(&format!("s3://{BUCKET}/ledger"), &self.s3.settings(), Component::Archive)
                    .await
                    .unwrap(),
            )
            .await
        })
    }

    pub(crate) fn read_archived(&self, key: &str) -> Vec<u8> {
        self.in_archive(|objects| async move { objects.get(key).await.unwrap().unwrap().to_vec() })
    }

    pub(crate) fn write_archived(&self, key: &str, bytes: Vec<u8>) {
        self.in_archive(|objects| async move { objects.put(key, bytes.into(), Put::Replace).await.unwrap() });
    }

    fn delete_archived(&self, prefix: &str) {
        self.in_archive(|objects| async move {
            let listed: Vec<Object> = objects.list(prefix).await.unwrap();
            for object in listed {
                objects.delete(&object.key).await.unwrap();
            }
        });
    }

    /// Copies all of a backup under another name, as an attacker with write access might.
    fn copy_backup(&self, from: &str, to: &str) {
        for (key, _) in self.archived() {
            if let Some(name) = key.strip_prefix(&format!("backups/{from}/")) {
                let bytes = self.read_archived(&key);
                let bytes = if name == "backup.json" {
                    String::from_utf8(bytes).unwrap().replace(from, to).into_bytes()
                } else {
                    bytes
                };
                self.write_archived(&format!("backups/{to}/{name}"), bytes);
            }
        }
    }

    fn fetch(&self, config: &str, segment: &str, more: &str) -> (Option<i32>, String) {
        let target = self.path("fetched");
        let _ = std::fs::remove_file(&target);
        let _ = std::fs::remove_dir_all(self.path("edgesentry_spool"));
        let output =
            self.with(config, &format!("fetch-wal --prefetch 0 {more} {segment} {}", target.display()));
        assert_eq!(output.status.success(), target.exists());
        (output.status.code(), said(&output))
    }

    /// Returns the checks of a command that must end with this code: their status and evidence in one text.
    fn checks(&self, config: &str, line: &str, code: i32) -> String {
        let output = self.with(config, &format!("{line} --json"));
        assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let checks = answer["checklist"]["checks"].as_array().unwrap();
        checks
            .iter()
            .map(|check| format!("{} {}: {}\n", check["status"], check["name"], check["evidence"]))
            .collect()
    }
}

fn key_of(segment: &str) -> String {
    format!("wal/00000001/{segment}.zst")
}

#[test]
fn nothing_that_a_trusted_key_has_not_signed_is_extracted_or_replayed() {
    let site = Site::start();
    site.sql("CREATE TABLE t (n int);\nINSERT INTO t SELECT generate_series(1, 100)");
    let before = site.json("backup", 0)["backup"]["id"].as_str().unwrap().to_owned();
    let old_segment = site.archive_now();

    // From here on the archive is signed, by the archiver too.
    let (old_key, old_public) = site.signing_key("old.seed");
    site.configure("eds.toml", &format!("signing_key = {:?}", old_key.display().to_string()));
    let (new_key, new_public) = site.signing_key("new.seed");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let backup = site.json("backup", 0)["backup"]["id"].as_str().unwrap().to_owned();
    site.sql("INSERT INTO t SELECT generate_series(101, 200)");
    let segment = site.archive_now();
    // A new key; the old one stays trusted.
    site.configure(
        "eds.toml",
        &format!(
            "signing_key = {:?}\ntrusted_keys = [{new_public:?}, {old_public:?}]",
            new_key.display().to_string()
        ),
    );
    site.sql("INSERT INTO t SELECT generate_series(201, 300)");
    let rotated = site.archive_now();
    site.json("sign-archive --apply", 0);

    // A machine that restores has public keys only.
    site.configure("trusting.toml", &format!("trusted_keys = [{old_public:?}, {new_public:?}]"));
    site.configure("other.toml", &format!("trusted_keys = [{new_public:?}]"));
    let sound = site.checks("trusting.toml", &format!("verify-backup {backup}"), 0);
    assert!(sound.contains(&format!("the key {old_public}")) && sound.contains("CRC-32C"), "{sound}");
    for name in [&segment, &rotated] {
        assert_eq!(site.fetch("trusting.toml", name, "").0, Some(0));
    }
    assert_eq!(site.fetch("other.toml", &rotated, "").0, Some(0));
    let (code, said) = site.fetch("other.toml", &segment, "");
    assert!(code == Some(200) && said.contains("which is not in ops.trusted_keys"), "{said}");
    let (code, said) = site.fetch("eds-without-keys.toml", &segment, "");
    assert_eq!(code, Some(200), "{said}");
    site.configure("none.toml", "");
    let (code, said) = site.fetch("none.toml", &segment, "");
    assert!(code == Some(200) && said.contains("no key is trusted"), "{said}");

    // Objects archived before there was a key are read if that is accepted, and reported.
    let unsigned = site.checks("trusting.toml", &format!("verify-backup {before}"), 1);
    assert!(unsigned.contains("it is not signed") && !unsigned.contains("base.tar.gz"), "{unsigned}");
    let (code, said) = site.fetch("trusting.toml", &old_segment, "");
    assert!(code == Some(200) && said.contains("--allow-unsigned"), "{said}");
    assert_eq!(site.fetch("trusting.toml", &old_segment, "--allow-unsigned").0, Some(0));
    let output = site.with("trusting.toml", &format!("verify-backup --allow-unsigned {before}"));
    assert!(
        output.status.success() && crate::said(&output).contains("is not signed"),
        "{}",
        crate::said(&output)
    );
    let refused = restore(&site, "trusting.toml", &format!("--backup {before}"), 3);
    assert!(refused.contains("it is not signed"), "{refused}");

    // An attacker with write access: a segment without its signature, another under its name, damage.
    let original = site.read_archived(&key_of(&segment));
    let stripped = [&original[..96], &original[208..]].concat();
    for (bytes, why) in [
        (stripped, "it is not signed"),
        (site.read_archived(&key_of(&rotated)), "is not for this content under this name"),
        (original[..original.len() - 1].to_vec(), "do not match their hash"),
    ] {
        site.write_archived(&key_of(&segment), bytes);
        let (code, said) = site.fetch("trusting.toml", &segment, "");
        assert!(code == Some(200) && said.contains(why), "{why}: {said}");
        let found = site.checks(
            "trusting.toml",
            "check-archive --contents --allow-unsigned",
            if why.contains("not signed") { 0 } else { 1 },
        );
        assert!(why.contains("not signed") || found.contains(&segment), "{found}");
    }
    site.write_archived(&key_of(&segment), original);
    let read = site.checks("trusting.toml", "check-archive --contents --allow-unsigned", 0);
    assert!(read.contains("CRC-32C: ") && !read.contains("of them signed: 0"), "{read}");
    site.checks("trusting.toml", "check-archive", 1);

    // An older backup under a newer name, and a changed manifest.
    site.copy_backup(&backup, "29990101T000000Z");
    let renamed = site.checks("trusting.toml", "verify-backup", 1);
    assert!(
        renamed.contains("29990101T000000Z") && renamed.contains("is not for this content under this name"),
        "{renamed}"
    );
    let refused = restore(&site, "trusting.toml", "", 3);
    assert!(refused.contains("nothing of backup 29990101T000000Z was extracted"), "{refused}");
    // It does not make a backup unnecessary.
    let taken = site.json("backup --if-log-exceeds 100000", 0)["backup"]["id"].clone();
    assert_ne!(taken, "29990101T000000Z");
    site.delete_archived("backups/29990101T000000Z/");

    // A dump.
    let dump = site.json("dump", 0)["dump"]["id"].as_str().unwrap().to_owned();
    let sound = site.checks("trusting.toml", "verify-backup --dump", 0);
    assert!(sound.contains(&format!("the key {new_public}")), "{sound}");
    let manifest = format!("dumps/{dump}/dump.json");
    let text = String::from_utf8(site.read_archived(&manifest)).unwrap();
    site.write_archived(&manifest, text.replacen("\"entries\": ", "\"entries\": 1", 1).into_bytes());
    site.checks("trusting.toml", "verify-backup --dump", 1);

    // The server replays signed segments.
    let restored = restore(&site, "trusting.toml", &format!("--drill --backup {backup}"), 0);
    let restored: Value = serde_json::from_str(&restored).unwrap();
    let port = u16::try_from(restored["restored"]["port"].as_u64().unwrap()).unwrap();
    assert_eq!(site.restored(port).query("SELECT count(*) FROM t").unwrap(), "300");
    stop(restored["restored"]["pid"].as_u64().unwrap());

    // A key that the archiver may not read: nothing is archived, and the log says why.
    std::fs::set_permissions(&new_key, PermissionsExt::from_mode(0o644)).unwrap();
    let output =
        site.ops(&format!("archive-wal {} 000000010000000000000099", site.path("fetched").display()));
    assert!(!output.status.success());
    let output = site.ops("backup");
    assert!(
        output.status.code() == Some(2) && crate::said(&output).contains("chmod 640"),
        "{}",
        crate::said(&output)
    );
}

/// Restores into a new directory, which must be empty after a failure.
fn restore(site: &Site, config: &str, more: &str, code: i32) -> String {
    let data = site.path(&format!("restored-{}", free_port().unwrap()));
    let line = format!("restore --json --data {} --port {} {more}", data.display(), free_port().unwrap());
    let output = site.with(config, &line);
    assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
    let is_empty = std::fs::read_dir(&data).map_or(true, |mut entries| entries.next().is_none());
    assert_eq!(is_empty, code != 0, "{line}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_hostile_backup_writes_nothing_outside_of_its_target() {
    let site = Site::start();
    let backup = site.json("backup", 0)["backup"]["id"].as_str().unwrap().to_owned();
    let victim = site.path("victim");
    std::fs::write(&victim, b"before").unwrap();
    let state = |path: &Path| {
        let metadata = std::fs::symlink_metadata(path).unwrap();
        (std::fs::read(path).unwrap(), metadata.uid(), metadata.mode(), metadata.ctime_nsec())
    };
    let seen = state(&victim);
    let manifest = format!("backups/{backup}/backup.json");
    let mut parsed: Value = serde_json::from_slice(&site.read_archived(&manifest)).unwrap();
    for name in ["innocent", "backup_manifest", "postgresql.auto.conf", "edgesentry-restore.log", "pg_wal"] {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, name, &victim).unwrap();
        let base = tar.into_inner().unwrap().finish().unwrap();
        // As an attacker with write access does: with the matching hash.
        let files = parsed["files"].as_array_mut().unwrap();
        let file = files.iter_mut().find(|file| file["name"] == "base.tar.gz").unwrap();
        file["size_bytes"] = base.len().into();
        file["blake3"] = blake3::hash(&base).to_hex().as_str().into();
        site.write_archived(&format!("backups/{backup}/base.tar.gz"), base);
        site.write_archived(&manifest, serde_json::to_vec(&parsed).unwrap());

        let checks = site.checks("eds.toml", "verify-backup", 1);
        assert!(checks.contains("a symbolic link"), "{name}: {checks}");
        let refused = restore(&site, "eds.toml", "", 3);
        assert!(refused.contains("a symbolic link"), "{name}: {refused}");
        assert_eq!(state(&victim), seen, "{name}");
    }
}

#[test]
fn an_encrypted_archive_is_restored_with_an_identity_of_it_only() {
    let site = Site::start();
    let identity = |name: &str| {
        let path = site.path(name);
        let made = Command::new("age-keygen").arg("-o").arg(&path).output().expect("age-keygen is installed");
        Programs::find(None).unwrap().own(&path).unwrap();
        let said = String::from_utf8(made.stderr).unwrap();
        (path, said.trim().strip_prefix("Public key: ").unwrap().to_owned())
    };
    let (mine, public) = identity("mine.age");
    let (other, _) = identity("other.age");
    let (key, trusted) = site.signing_key("ops.seed");
    // The server that archives has no identity: it cannot read its own archived files.
    site.configure(
        "eds.toml",
        &format!("signing_key = {:?}\nrecipients = [{public:?}]", key.display().to_string()),
    );
    site.sql("CREATE TABLE t (text text);\nINSERT INTO t SELECT 'a secret of the ledger' FROM generate_series(1, 100)");
    let segment = site.archive_now();
    let backup = site.json("backup", 0)["backup"].clone();
    site.json("dump", 0);
    site.sql("INSERT INTO t SELECT 'another secret'");
    let later = site.archive_now();
    for (key, _) in site.archived() {
        let bytes = site.read_archived(&key);
        let is_encrypted = bytes.windows(22).any(|window| window == b"age-encryption.org/v1\n");
        let is_public = key.ends_with(".json") || key.ends_with(".sig");
        assert!(is_encrypted != is_public || key.ends_with(".backup.zst") && is_encrypted, "{key}");
    }
    // Without an identity signatures and hashes are compared, and unread content is not reported as intact.
    for line in ["verify-backup", "verify-backup --dump", "check-archive --contents"] {
        let checks = site.checks("eds.toml", line, 3);
        assert!(checks.contains("ops.identity"), "{line}: {checks}");
    }
    // The same segment again is not an error, although its encryption differs each time.
    site.configure(
        "with.toml",
        &format!("trusted_keys = [{trusted:?}]\nidentity = {:?}", mine.display().to_string()),
    );
    assert_eq!(site.fetch("with.toml", &segment, "").0, Some(0));
    let again = site.ops(&format!("archive-wal {} {segment}", site.path("fetched").display()));
    assert!(again.status.success(), "{}", said(&again));

    // Another identity, and none: one sentence.
    site.configure(
        "wrong.toml",
        &format!("trusted_keys = [{trusted:?}]\nidentity = {:?}", other.display().to_string()),
    );
    site.configure("without.toml", &format!("trusted_keys = [{trusted:?}]"));
    for (config, why) in [("wrong.toml", "is not encrypted to the key"), ("without.toml", "ops.identity")] {
        let (code, said) = site.fetch(config, &later, "");
        assert!(code == Some(200) && said.contains(why), "{config}: {said}");
        let refused = site.with(
            config,
            &format!("restore --data {} --port {}", site.path("no").display(), free_port().unwrap()),
        );
        assert!(
            !refused.status.success() && said_last(&refused).contains(why),
            "{config}: {}",
            crate::said(&refused)
        );
        assert!(!site.path("no").exists());
    }

    for line in ["verify-backup", "verify-backup --dump", "check-archive --contents"] {
        site.checks("with.toml", line, 0);
    }
    let restored =
        restore(&site, "with.toml", &format!("--drill --backup {}", backup["id"].as_str().unwrap()), 0);
    let restored: Value = serde_json::from_str(&restored).unwrap();
    let port = u16::try_from(restored["restored"]["port"].as_u64().unwrap()).unwrap();
    assert_eq!(site.restored(port).query("SELECT count(*) FROM t").unwrap(), "101");
    stop(restored["restored"]["pid"].as_u64().unwrap());
}

fn said_last(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

/// `archive.json` and `adopted.json` decide which servers may archive, and what a signature covers.
#[test]
fn whose_an_archive_is_must_be_signed() {
    let site = Site::start();
    site.sql("CREATE TABLE t (n int)");
    // An archive from before there was a key: a server that gets one signs the identity that it knows by itself.
    site.json("backup", 0);
    site.archive_now();
    let (key, public) = site.signing_key("ops.seed");
    let signing = format!("signing_key = {:?}", key.display().to_string());
    let before = site.with("eds.toml", "sign-archive");
    assert!(before.status.code() == Some(3) && said(&before).contains("not signed"), "{}", said(&before));
    site.configure("eds.toml", &signing);
    site.configure("trusting.toml", &format!("trusted_keys = [{public:?}]"));
    let refused = site.with("trusting.toml", "backups");
    assert_eq!(refused.status.code(), Some(3), "{}", said(&refused));
    assert!(said(&refused).contains("archive.json") && said(&refused).contains("eds ops sign-archive"));
    // It is restored if that is accepted, by every process of the restore.
    let restored = restore(&site, "trusting.toml", "--drill --allow-unsigned", 0);
    let restored: Value = serde_json::from_str(&restored).unwrap();
    stop(restored["restored"]["pid"].as_u64().unwrap());
    // Content for the next segment.
    site.sql("INSERT INTO t VALUES (1)");
    let segment = site.archive_now();
    let (code, said) = site.fetch("trusting.toml", &segment, "");
    assert_eq!(code, Some(0), "{said}");
    site.json("backup", 0);

    // An attacker with write access: another cluster, and a copy that was never adopted.
    let mark = site.read_archived("archive.json");
    let text = String::from_utf8(mark.clone()).unwrap();
    site.write_archived("archive.json", text.replacen("16777216", "33554432", 1).into_bytes());
    let (code, said) = site.fetch("trusting.toml", &segment, "");
    assert!(code == Some(200) && said.contains("mark archive.json"), "{said}");
    site.write_archived("archive.json", mark);
    let forged = r#"{"copy": "1-0123456789abcdef", "timeline": 9, "adopted_at_ms": 1}"#;
    site.write_archived("adopted.json", forged.into());
    for line in ["dump", "check-archive", "backup"] {
        let output = site.ops(line);
        assert_eq!(output.status.code(), Some(3), "{line}: {}", crate::said(&output));
        assert!(crate::said(&output).contains("mark adopted.json"), "{line}: {}", crate::said(&output));
    }
    // The signature of one mark is invalid for the other.
    site.write_archived("adopted.json.sig", site.read_archived("archive.json.sig"));
    let output = site.ops("check-archive");
    assert!(crate::said(&output).contains("is not for this content"), "{}", crate::said(&output));

    // An operator who reviews and signs it makes it valid: then the original is rejected.
    let shown = site.with("trusting.toml", "sign-archive --apply");
    assert_eq!(shown.status.code(), Some(2), "{}", crate::said(&shown));
    let signed = site.json("sign-archive --apply", 0)["signed"]["marks"].clone();
    assert_eq!(signed[1]["key"], "adopted.json");
    assert_eq!(signed[1]["signed_by"], public.as_str());
    let output = site.ops("dump");
    assert!(crate::said(&output).contains("handed over to a restored copy"), "{}", crate::said(&output));
    site.delete_archived("adopted.json");
    site.json("dump", 0);

    // A key that replaces the first one.
    let (new_key, new_public) = site.signing_key("new.seed");
    let keys = format!("trusted_keys = [{new_public:?}, {public:?}]");
    site.configure("eds.toml", &format!("signing_key = {:?}\n{keys}", new_key.display().to_string()));
    site.json("sign-archive --apply", 0);
    site.configure("new.toml", &format!("trusted_keys = [{new_public:?}]"));
    assert_eq!(site.with("new.toml", "sign-archive").status.code(), Some(0));
    site.sql("INSERT INTO t VALUES (2)");
    let later = site.archive_now();
    let (code, said) = site.fetch("new.toml", &later, "");
    assert_eq!(code, Some(0), "{said}");
}
