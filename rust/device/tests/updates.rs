//! Records about updates: written before the state, never lost, never doubled.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use edgesentry_device::{AuditRecord, Device, Error, Hash, Outbox, Outcome, Scheme, Sink, Submission};
use edgesentry_formats::UpdateStateFile;
use edgesentry_update::{
    Manifest, PublisherKey, Refusal, SignedManifest, State, Trust, Verified, audit_payload, refusal_payload,
};
use tempfile::TempDir;

const NAME: &str = "door-controller";
const NOW_MS: u64 = 1_790_000_000_000;

/// A device with its files.
struct Door {
    folder: TempDir,
}

impl Door {
    fn new() -> Door {
        let door = Door { folder: tempfile::tempdir().unwrap() };
        UpdateStateFile::create(&door.path("update.state"), NAME).unwrap();
        door
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn outbox(&self) -> Outbox {
        let device = Device::from_seed("door-01", [7; 32], Scheme::Record);
        Outbox::open(&self.path("outbox.db"), device).await.unwrap()
    }

    fn file(&self) -> UpdateStateFile {
        UpdateStateFile::open(&self.path("update.state")).unwrap()
    }
}

fn manifest(version: u64, expires_ms: u64) -> Manifest {
    Manifest {
        name: NAME.to_owned(),
        version,
        image_hash: Hash::of(b"image"),
        image_size_bytes: 5,
        minimum_version: version,
        expires_ms,
    }
}

fn verified(state: &State, manifest: Manifest) -> Result<Verified, Refusal> {
    let publisher = PublisherKey::from_seed([1; 32]);
    let trust = Trust::new(manifest.name.clone(), 1, [publisher.public_key().unwrap()]).unwrap();
    let mut signed = SignedManifest::new(manifest).unwrap();
    signed.sign(&publisher).unwrap();
    let mut image = state.admit(trust.check(&signed)?, NOW_MS)?.image();
    image.write(b"image")?;
    image.finish()
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work);
}

#[test]
fn each_update_is_a_record_of_the_chain() {
    run(async {
        let door = Door::new();
        let (outbox, mut file) = (door.outbox().await, door.file());
        let six = manifest(6, NOW_MS + 10);
        let update = verified(file.state(), six.clone()).unwrap();
        let record = outbox.accept_update(&mut file, &update, NOW_MS).await.unwrap();
        assert_eq!((record.sequence, record.object_ref.as_str()), (1, "door-01/updates/1.json"));
        assert_eq!(record.payload_hash, Hash::of(audit_payload(Some(&six), Ok(())).as_bytes()));
        assert_eq!(file.state().version(), 6);

        let old = manifest(5, NOW_MS + 10);
        let refusal = verified(file.state(), old.clone()).unwrap_err();
        let record = outbox.refuse_update(Some(&old), &refusal, NOW_MS + 1).await.unwrap().unwrap();
        assert_eq!((record.sequence, record.timestamp_ms), (2, NOW_MS + 1));
        assert_eq!(record.payload_hash, Hash::of(audit_payload(Some(&old), Err(&refusal)).as_bytes()));
        // An installation that is repeated later is an acceptance of its own.
        let again = verified(file.state(), six).unwrap();
        assert_eq!(outbox.accept_update(&mut file, &again, NOW_MS).await.unwrap().sequence, 3);
        assert_eq!(outbox.waiting().await.unwrap(), 3);
    });
}

/// Where power is lost during an acceptance.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Loss {
    AfterTheRecord,
    AfterTheState,
}

#[test]
fn a_loss_of_power_loses_no_record_and_doubles_none() {
    run(async {
        for loss in [Loss::AfterTheRecord, Loss::AfterTheState] {
            for repeated in [true, false] {
                let door = Door::new();
                let (outbox, mut file) = (door.outbox().await, door.file());
                let update = verified(file.state(), manifest(6, NOW_MS + 10)).unwrap();
                let accepted = outbox.record_update(file.state(), &update, NOW_MS).await.unwrap();
                if loss == Loss::AfterTheState {
                    file.replace(accepted.state.clone()).unwrap();
                }
                outbox.close().await;
                drop((outbox, file));

                // The next start completes the state, whether or not the update comes again.
                let (outbox, mut file) = (door.outbox().await, door.file());
                let changed = outbox.complete_update(&mut file).await.unwrap();
                assert_eq!(changed, loss == Loss::AfterTheRecord);
                assert_eq!(file.state(), &accepted.state);
                assert_eq!(UpdateStateFile::read(&door.path("update.state")).unwrap(), accepted.state);
                let old = verified(file.state(), manifest(5, NOW_MS + 10)).unwrap_err();
                assert!(matches!(old, Refusal::Rollback { .. }));
                if repeated {
                    let again = verified(file.state(), manifest(6, NOW_MS + 10)).unwrap();
                    if loss == Loss::AfterTheState {
                        // It was complete, so this is an acceptance of its own.
                        let record = outbox.accept_update(&mut file, &again, NOW_MS + 5).await.unwrap();
                        assert_eq!((record.sequence, record.timestamp_ms), (2, NOW_MS + 5));
                        continue;
                    }
                    let record = outbox.accept_update(&mut file, &again, NOW_MS + 5).await.unwrap();
                    assert_eq!(record, accepted.record);
                } else {
                    // The next start but one ends the acceptance.
                    assert!(!outbox.complete_update(&mut file).await.unwrap());
                    let much_later = verified(file.state(), manifest(6, NOW_MS + 10)).unwrap();
                    let state = file.state().clone();
                    let again = outbox.record_update(&state, &much_later, NOW_MS + 5).await.unwrap();
                    assert_eq!((again.record.sequence, again.record.timestamp_ms), (2, NOW_MS + 5));
                    continue;
                }
                let next = verified(file.state(), manifest(7, NOW_MS + 10)).unwrap();
                let record = outbox.accept_update(&mut file, &next, NOW_MS + 6).await.unwrap();
                assert_eq!((record.sequence, record.prev_record_hash), (2, accepted.record.hash()));
                assert_eq!(outbox.waiting().await.unwrap(), 2);
            }
        }
    });
}

#[test]
fn an_unfinished_update_is_completed_first() {
    run(async {
        let door = Door::new();
        let (outbox, mut file) = (door.outbox().await, door.file());
        let before = file.state().clone();
        let six = verified(&before, manifest(6, NOW_MS + 10)).unwrap();
        outbox.record_update(&before, &six, NOW_MS).await.unwrap();
        let seven = verified(&before, manifest(7, NOW_MS + 10)).unwrap();
        let error = outbox.record_update(&before, &seven, NOW_MS).await.unwrap_err();
        assert!(error.to_string().contains("complete it first"), "{error}");
        // The state of another product is not completed.
        let other = State::new("lift-drive").unwrap();
        let error = outbox.unfinished_update(&other).await.unwrap_err();
        assert!(error.to_string().contains("another product"), "{error}");
        // A state that went on without the outbox keeps what it has.
        file.accept(&seven).unwrap();
        let later = file.state().clone();
        assert!(!outbox.complete_update(&mut file).await.unwrap());
        assert_eq!(file.state(), &later);
    });
}

#[test]
fn a_full_outbox_has_room_for_an_accepted_update_and_not_for_refusals() {
    run(async {
        let door = Door::new();
        let (outbox, mut file) = (door.outbox().await.limited(1), door.file());
        let refusal = Refusal::ImageTooLong { expected: 5 };
        let refuse = || outbox.refuse_update(None, &refusal, NOW_MS);
        assert!(refuse().await.unwrap().is_some());
        assert_eq!(refuse().await.unwrap(), None);
        for version in 1..=16 {
            let update = verified(file.state(), manifest(version, NOW_MS + 10)).unwrap();
            outbox.accept_update(&mut file, &update, NOW_MS).await.unwrap();
        }
        let update = verified(file.state(), manifest(17, NOW_MS + 10)).unwrap();
        outbox.accept_update(&mut file, &update, NOW_MS).await.unwrap_err();
        assert_eq!((outbox.waiting().await.unwrap(), file.state().version()), (17, 16));
    });
}

/// A service that accepts everything.
struct Accepting;

#[async_trait]
impl Sink for Accepting {
    async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
        submissions.iter().map(|_| Ok(Outcome::Accepted)).collect()
    }
}

#[test]
fn refusals_leave_room_for_other_records_and_are_all_counted() {
    run(async {
        for (limit, most) in [(None, 64), (Some(1000), 64), (Some(40), 10), (Some(2), 1)] {
            let door = Door::new();
            let mut outbox = door.outbox().await;
            if let Some(limit) = limit {
                outbox = outbox.limited(limit);
            }
            let refusal = Refusal::Malformed("x".to_owned());
            let refuse = || outbox.refuse_update(None, &refusal, NOW_MS);
            let hash = |left_out| Some(Hash::of(refusal_payload(None, &refusal, left_out).as_bytes()));
            let payload_hash = |record: Option<AuditRecord>| record.map(|record| record.payload_hash);
            for _ in 0..most {
                assert_eq!(payload_hash(refuse().await.unwrap()), hash(0));
            }
            for _ in 0..3 {
                assert_eq!(refuse().await.unwrap(), None);
            }
            assert_eq!(outbox.waiting().await.unwrap(), most);
            outbox.sign(NOW_MS, Bytes::from_static(b"door open"), "1.bin").await.unwrap();
            assert_eq!(refuse().await.unwrap(), None);
            assert_eq!(outbox.flush(&Accepting).await.unwrap().waiting, 0);
            for left_out in [4, 0].into_iter().take(most as usize) {
                assert_eq!(payload_hash(refuse().await.unwrap()), hash(left_out));
            }
        }
    });
}
