//! A device whose key is elsewhere: failures, wrong signatures and slow signers lose no record and stop nothing else.
#![allow(clippy::unwrap_used)]

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use edgesentry_device::{Device, PublicKey, Scheme, SeedSigner, SignError, Signer, SignerError, sign_with};

/// A signer that does what it is told for each signature: wait for a result.
struct Told {
    key: SeedSigner,
    asked: Mutex<Sender<usize>>,
    results: Mutex<Receiver<Result<SeedSigner, SignerError>>>,
}

impl Signer for Told {
    fn public_key(&self) -> &PublicKey {
        self.key.public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SignerError> {
        self.asked.lock().unwrap().send(message.len()).unwrap();
        self.results.lock().unwrap().recv().unwrap()?.sign(message)
    }
}

type Results = Sender<Result<SeedSigner, SignerError>>;

fn told() -> (Arc<Told>, Receiver<usize>, Results) {
    let ((asked, questions), (answers, results)) = (channel(), channel());
    let told = Told { key: key(7), asked: Mutex::new(asked), results: Mutex::new(results) };
    (Arc::new(told), questions, answers)
}

fn key(byte: u8) -> SeedSigner {
    SeedSigner::new([byte; 32]).unwrap()
}

#[test]
fn a_chain_advances_only_with_a_valid_signature() {
    for scheme in [Scheme::Record, Scheme::PayloadHash] {
        let (signer, asked, answers) = told();
        let mut device = Device::from_signer("lift-01", signer.clone(), scheme);
        let payload = vec![0; 1 << 20];
        answers.send(Err(SignerError::passing("the token", "the token was removed"))).unwrap();
        let error = device.sign(1, &payload, "1.bin").unwrap_err();
        assert_eq!(error.to_string(), "the token: the token was removed");
        answers.send(Ok(key(8))).unwrap();
        let error = device.sign_ref(1, &payload, "1.bin").unwrap_err();
        let SignError::Signer(error) = error else { panic!("{error}") };
        assert!(!error.retryable && error.to_string().contains("does not hold"), "{error}");
        assert_eq!(device.head(), None);

        answers.send(Ok(key(7))).unwrap();
        let record = device.sign(1, &payload, "1.bin").unwrap();
        let same = Device::from_seed("lift-01", [7; 32], scheme).sign(1, &payload, "1.bin").unwrap();
        assert_eq!(record, same);
        // The signer gets a digest, never the payload.
        assert_eq!(asked.try_iter().collect::<Vec<_>>(), [32; 3]);
        answers.send(Ok(key(7))).unwrap();
        sign_with(&*signer, b"any message").unwrap();
    }
}

#[cfg(feature = "outbox")]
mod outbox {
    use std::path::Path;

    use async_trait::async_trait;
    use bytes::Bytes;
    use edgesentry_device::{AuditRecord, Error, Outbox, Outcome, Sink, Submission};
    use edgesentry_update::Refusal;

    use super::*;

    /// A service that accepts everything.
    struct Accepting;

    #[async_trait]
    impl Sink for Accepting {
        async fn send(&self, submissions: Vec<Submission>) -> Vec<Result<Outcome, Error>> {
            submissions.iter().map(|_| Ok(Outcome::Accepted)).collect()
        }
    }

    async fn open(path: &Path, device: Device) -> Arc<Outbox> {
        Arc::new(Outbox::open(path, device).await.unwrap())
    }

    async fn sign(outbox: &Outbox, payload: &'static [u8]) -> Result<AuditRecord, Error> {
        outbox.sign(1, Bytes::from_static(payload), "x.bin").await
    }

    #[tokio::test]
    async fn a_signer_that_fails_loses_no_record() {
        let folder = tempfile::tempdir().unwrap();
        let (signer, _asked, answers) = told();
        let outbox =
            open(&folder.path().join("o.db"), Device::from_signer("lift-01", signer, Scheme::Record)).await;
        answers.send(Ok(key(7))).unwrap();
        let first = sign(&outbox, b"one").await.unwrap();
        // All or none of a call.
        answers.send(Ok(key(7))).unwrap();
        answers.send(Err(SignerError::passing("the token", "the token was removed"))).unwrap();
        let items =
            [(2, Bytes::from_static(b"two"), "2.bin".to_owned()), (3, Bytes::new(), "3.bin".to_owned())];
        let error = outbox.sign_many(items.clone()).await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("signer", true));
        answers.send(Ok(key(8))).unwrap();
        let error = sign(&outbox, b"two").await.unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("signer", false));
        let state = (outbox.waiting().await.unwrap(), outbox.head().await.unwrap().unwrap().hash);
        assert_eq!(state, (1, first.hash()));

        answers.send(Ok(key(7))).unwrap();
        answers.send(Ok(key(7))).unwrap();
        let signed = outbox.sign_many(items).await.unwrap();
        assert_eq!((signed[0].sequence, signed[0].prev_record_hash), (2, first.hash()));
        let flushed = outbox.flush(&Accepting).await.unwrap();
        assert_eq!((flushed.accepted, flushed.waiting), (3, 0));
    }

    #[tokio::test]
    async fn a_slow_signer_stops_neither_a_flush_nor_another_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.db");
        let (signer, asked, answers) = told();
        let slow = open(&path, Device::from_signer("lift-01", signer, Scheme::Record)).await;
        let other = open(&path, Device::from_seed("lift-01", [7; 32], Scheme::Record)).await;
        let zero = sign(&other, b"zero").await.unwrap();

        let waiting = tokio::spawn({
            let slow = Arc::clone(&slow);
            async move { sign(&slow, b"slow").await.unwrap() }
        });
        // The signer has the message and gives no answer yet.
        let next = tokio::task::spawn_blocking(move || (asked.recv().unwrap(), asked)).await.unwrap();
        assert_eq!(next.0, 32);
        assert_eq!(slow.flush(&Accepting).await.unwrap().accepted, 1);
        let one = sign(&other, b"other").await.unwrap();
        assert_eq!((one.sequence, one.prev_record_hash), (2, zero.hash()));

        // The first signature continued the wrong record, so it is made again.
        answers.send(Ok(key(7))).unwrap();
        answers.send(Ok(key(7))).unwrap();
        let two = waiting.await.unwrap();
        assert_eq!((two.sequence, two.prev_record_hash), (3, one.hash()));
        assert_eq!(next.1.try_iter().count(), 1);
        assert_eq!(other.head().await.unwrap().unwrap().hash, two.hash());
        assert_eq!(slow.flush(&Accepting).await.unwrap().accepted, 2);
    }
    /// Waits until the signer has a message.
    async fn asked(questions: Receiver<usize>) -> Receiver<usize> {
        tokio::task::spawn_blocking(move || questions.recv().map(|_| questions).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn a_slow_signer_of_updates_and_successions_stops_neither() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.db");
        let (signer, questions, answers) = told();
        let slow = open(&path, Device::from_signer("lift-01", signer, Scheme::Record)).await;
        let other = open(&path, Device::from_seed("lift-01", [7; 32], Scheme::Record)).await;
        let refuse = |outbox: &Arc<Outbox>| {
            let outbox = Arc::clone(outbox);
            let refusal = Refusal::ImageTooLong { expected: 5 };
            tokio::spawn(async move { outbox.refuse_update(None, &refusal, 1).await })
        };

        let refused = refuse(&slow);
        let questions = asked(questions).await;
        sign(&other, b"one").await.unwrap();
        assert_eq!(slow.flush(&Accepting).await.unwrap().accepted, 1);
        answers.send(Ok(key(7))).unwrap();
        answers.send(Ok(key(7))).unwrap();
        assert_eq!(refused.await.unwrap().unwrap().unwrap().sequence, 2);
        // The reference has the sequence of the second signature.
        let head = slow.head().await.unwrap().unwrap();
        assert_eq!(head.sequence, 2);
        let mut questions = asked(questions).await;

        // It does not go on for ever, and has no effect then.
        let refused = refuse(&slow);
        for _ in 0..16 {
            questions = asked(questions).await;
            sign(&other, b"more").await.unwrap();
            answers.send(Ok(key(7))).unwrap();
        }
        let error = refused.await.unwrap().unwrap_err();
        assert_eq!((error.code(), error.is_retryable()), ("signer", true));
        assert!(error.to_string().contains("another process"), "{error}");
        assert_eq!(slow.head().await.unwrap().unwrap().sequence, 18);

        let succession = tokio::spawn({
            let slow = Arc::clone(&slow);
            async move { slow.succeed(1, Device::from_seed("lift-01", [8; 32], Scheme::Record)).await }
        });
        let questions = asked(questions).await;
        sign(&other, b"last").await.unwrap();
        assert_eq!(slow.flush(&Accepting).await.unwrap().waiting, 0);
        answers.send(Ok(key(7))).unwrap();
        answers.send(Ok(key(7))).unwrap();
        assert_eq!(succession.await.unwrap().unwrap().sequence, 20);
        drop(questions);
        let error = sign(&other, b"late").await.unwrap_err();
        assert!(error.to_string().contains("succeeded at sequence 20"), "{error}");
        assert_eq!(sign(&slow, b"new").await.unwrap().sequence, 21);
    }

    #[tokio::test]
    async fn after_a_succession_no_other_key_signs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.db");
        let device = |seed| Device::from_seed("lift-01", [seed; 32], Scheme::Record);
        let first = open(&path, device(1)).await;
        let foreign = open(&path, device(4)).await;
        for seed in 2..=3 {
            first.succeed(1, device(seed)).await.unwrap();
            for outbox in [&foreign, &open(&path, device(4)).await, &open(&path, device(seed - 1)).await] {
                let errors =
                    [sign(outbox, b"x").await.unwrap_err(), outbox.succeed(2, device(5)).await.unwrap_err()];
                for error in errors.map(|error| error.to_string()) {
                    let expected =
                        format!("at sequence {} by key {}", seed - 1, device(seed).public_key().unwrap());
                    assert!(error.contains(&expected) && error.contains("was opened with key"), "{error}");
                }
            }
        }
        assert_eq!(sign(&*open(&path, device(3)).await, b"x").await.unwrap().sequence, 3);
        assert_eq!(sign(&first, b"x").await.unwrap().sequence, 4);
        let error = first.succeed(2, device(2)).await.unwrap_err();
        assert!(error.to_string().contains("make another one"), "{error}");
    }
}
