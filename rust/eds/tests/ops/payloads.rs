//! `eds ops restore-object` on a bucket in which payloads were deleted and overwritten.

use std::path::Path;
use std::process::Output;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use edgesentry_ops::servers::{SeaweedFs, find_weed};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{eds, line, said, sentence};

const BUCKET: &str = "audit-payloads";

/// A bucket that keeps versions without protecting them, and a ledger with its payloads there.
struct Payloads {
    folder: TempDir,
    _s3: SeaweedFs,
    client: Client,
    runtime: Runtime,
}

impl Payloads {
    fn new(records: u64) -> Payloads {
        let s3 = SeaweedFs::start(&find_weed(None).unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async {
            let client = s3.settings().client().await.unwrap();
            client.create_bucket().bucket(BUCKET).send().await.unwrap();
            let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
            let versioning = client.put_bucket_versioning().bucket(BUCKET);
            versioning.versioning_configuration(enabled).send().await.unwrap();
            client
        });
        let folder = TempDir::new().unwrap();
        let settings = format!(
            "ledger = \"sqlite:audit.db\"\npayloads = \"s3://{BUCKET}\"\n[s3]\nendpoint = \"{}\"\n\
             access_key_id = \"edgesentry\"\nsecret_access_key = \"edgesentry-secret\"\n",
            s3.endpoint()
        );
        std::fs::write(folder.path().join("eds.toml"), settings).unwrap();
        let payloads = Payloads { folder, _s3: s3, client, runtime };
        payloads.ingest(records);
        payloads
    }

    /// Ingests a chain of one device.
    fn ingest(&self, records: u64) {
        let (chain, keys) = chain(self.folder.path(), records);
        std::fs::write(self.folder.path().join("chain.ndjson"), chain).unwrap();
        std::fs::write(self.folder.path().join("keys.json"), keys).unwrap();
        let output = self.eds("ingest chain.ndjson --payloads payloads --register keys.json");
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    }

    fn eds(&self, line: &str) -> Output {
        let mut command = eds(line);
        command.current_dir(self.folder.path()).args(["--config", "eds.toml"]).output().unwrap()
    }

    /// Returns the output of `restore-object` for a range.
    fn restore(&self, line: &str, code: i32) -> Value {
        let output = self.eds(&format!("--json ops restore-object lift-01 {line}"));
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["payloads"].clone()
    }

    fn read(&self, key: &str) -> Vec<u8> {
        let answer = self.client.get_object().bucket(BUCKET).key(key).send();
        self.runtime.block_on(async { answer.await.unwrap().body.collect().await.unwrap().to_vec() })
    }

    fn delete(&self, key: &str) {
        self.runtime.block_on(self.client.delete_object().bucket(BUCKET).key(key).send()).unwrap();
    }

    fn overwrite(&self, key: &str) {
        let other = ByteStream::from_static(b"something else");
        let put = self.client.put_object().bucket(BUCKET).key(key).body(other);
        self.runtime.block_on(put.send()).unwrap();
    }

    /// Returns the versions of an object, including deletions.
    fn versions(&self, key: &str) -> Vec<String> {
        let listed = self.client.list_object_versions().bucket(BUCKET).prefix(key).send();
        let listed = self.runtime.block_on(listed).unwrap();
        let versions = listed.versions().iter().filter_map(|version| version.version_id());
        let deletions = listed.delete_markers().iter().filter_map(|marker| marker.version_id());
        versions.chain(deletions).map(str::to_owned).collect()
    }

    /// Deletes every version of an object for good.
    fn destroy(&self, key: &str) {
        for version in self.versions(key) {
            let delete = self.client.delete_object().bucket(BUCKET).key(key).version_id(version);
            self.runtime.block_on(delete.send()).unwrap();
        }
    }
}

/// Writes payloads; returns their records and a key ring.
fn chain(folder: &Path, records: u64) -> (String, String) {
    let mut device =
        edgesentry_chain::Device::from_seed("lift-01", [7; 32], edgesentry_chain::Scheme::Record);
    let key = device.public_key().unwrap();
    std::fs::create_dir_all(folder.join("payloads/lift-01")).unwrap();
    let records = (1..=records).map(|sequence| {
        let object_ref = format!("lift-01/{sequence}.bin");
        std::fs::write(folder.join("payloads").join(&object_ref), payload(sequence)).unwrap();
        let record = device.sign(1_700_000_000_000 + sequence, &payload(sequence), object_ref).unwrap();
        line(&record)
    });
    (records.collect(), format!("{{\"lift-01\": {{\"key\": \"{key}\", \"scheme\": \"record\"}}}}"))
}

/// Returns the key of a payload in the bucket.
fn key(sequence: u64) -> String {
    format!("devices/lift-01/0/{sequence}-{}", edgesentry_chain::Hash::of(&payload(sequence)))
}

/// Returns every byte value, and the number of the record.
fn payload(sequence: u64) -> Vec<u8> {
    (0..=255).chain(sequence.to_be_bytes()).collect()
}

#[test]
fn payloads_are_restored_byte_identical_or_named_as_lost() {
    let payloads = Payloads::new(5);
    payloads.delete(&key(2));
    payloads.overwrite(&key(3));
    payloads.destroy(&key(4));
    payloads.destroy(&key(5));
    payloads.overwrite(&key(5));
    let of = |answer: &Value| -> Vec<(u64, String)> {
        let damaged = answer["damaged"].as_array().unwrap().iter();
        damaged.map(|one| (one["sequence"].as_u64().unwrap(), one["state"].to_string())).collect()
    };
    let states = |two: &str| {
        [(2, two), (3, two), (4, "lost"), (5, "lost")].map(|(at, state)| (at, format!("{state:?}")))
    };

    // Without --apply nothing changes.
    assert_eq!(of(&payloads.restore("", 1)), states("restorable"));
    assert_eq!(payloads.versions(&key(2)).len(), 2);
    assert_eq!(of(&payloads.restore("--apply", 1)), states("restored"));
    for sequence in 1..=3 {
        assert_eq!(payloads.read(&key(sequence)), payload(sequence), "{sequence}");
    }
    // The damage stays as evidence; payloads without a version were not touched.
    for (sequence, versions) in [(1, 1), (2, 3), (3, 3), (4, 0), (5, 1)] {
        assert_eq!(payloads.versions(&key(sequence)).len(), versions, "{sequence}");
    }
    assert_eq!(payloads.restore("--from 1 --to 3", 0)["intact"], 3);
    // For all devices, and for those of a list: 1 is lost, as above.
    std::fs::write(payloads.folder.path().join("devices"), "lift-01\n\n").unwrap();
    for which in ["--all", "--devices devices"] {
        let output = payloads.eds(&format!("ops restore-object {which}"));
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(
            said(&output).contains("5 payloads: 3 intact, 0 restorable, 0 restored, 2 lost"),
            "{}",
            said(&output)
        );
    }

    for (sequence, sentence) in [
        (4, "it is deleted or was never there; none of 0 versions has its bytes"),
        (5, "; none of 1 versions has its bytes"),
    ] {
        let output =
            payloads.eds(&format!("ops restore-object lift-01 --from {sequence} --to {sequence} --apply"));
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0], format!("lost        lift-01 {sequence}  lift-01/{sequence}.bin"));
        assert!(lines[1].ends_with(sentence), "{text}");
        assert_eq!(lines[2], "1 payload: 0 intact, 0 restorable, 0 restored, 1 lost");
    }
}

/// Earlier releases stored payloads under object references; restores put them there.
#[test]
fn payloads_of_earlier_releases_are_restored_to_their_names() {
    let payloads = Payloads::new(2);
    for sequence in 1..=2 {
        payloads.destroy(&key(sequence));
        let put = payloads.client.put_object().bucket(BUCKET).key(format!("lift-01/{sequence}.bin"));
        let put = put.body(ByteStream::from(payload(sequence)));
        payloads.runtime.block_on(put.send()).unwrap();
    }
    assert_eq!(payloads.restore("", 0)["intact"], 2);
    payloads.overwrite("lift-01/1.bin");
    payloads.delete("lift-01/2.bin");
    let restorable = payloads.restore("", 3);
    assert_eq!(restorable["damaged"][0]["key"], "lift-01/1.bin");
    assert_eq!(payloads.restore("--apply", 0)["damaged"].as_array().unwrap().len(), 2);
    for sequence in 1..=2 {
        assert_eq!(payloads.read(&format!("lift-01/{sequence}.bin")), payload(sequence));
        assert_eq!(payloads.versions(&key(sequence)).len(), 0, "nothing was written anywhere else");
    }
}

#[test]
fn an_impossible_restore_is_one_sentence() {
    let payloads = Payloads::new(1);
    for (line, code, why) in [
        ("lift-02", 2, "device \"lift-02\" is not registered"),
        ("lift-01 --from 9", 3, "has no record there"),
        ("lift-01 --payload-store folder:payloads", 2, "name a copy of it with --backup DIR"),
        ("lift-01 --payload-store s3://nowhere", 3, "HTTP 404: the bucket does not exist"),
    ] {
        let output = payloads.eds(&format!("ops restore-object {line} --apply"));
        assert_eq!(output.status.code(), Some(code), "{line}: {}", said(&output));
        assert!(sentence(&output).contains(why), "{line}: {}", said(&output));
    }
    assert_eq!(payloads.versions(&key(1)).len(), 1);
}

/// The bucket of these tests was made without Object Lock, and contains payloads.
#[test]
fn a_bucket_without_object_lock_is_not_called_locked() {
    let payloads = Payloads::new(3);
    for apply in ["", " --apply"] {
        let output = payloads.eds(&format!("ops s3-setup s3://{BUCKET} --retention-days 1{apply}"));
        assert_ne!(output.status.code(), Some(0), "{}", said(&output));
        let text = said(&output);
        assert!(!text.contains("made with Object Lock"), "{text}");
        assert!(
            text.contains("3 of 3 versions can be deleted permanently; --lock-existing --apply locks them"),
            "{text}"
        );
    }
    let output =
        payloads.eds(&format!("ops s3-setup s3://{BUCKET} --retention-days 1 --lock-existing --apply"));
    let text = said(&output);
    // A store that rejects it because the bucket has no Object Lock reports that; one that does not has locked the
    // versions.
    assert!(text.contains("3 of 3 versions were locked") || output.status.code() == Some(1), "{text}");
}
