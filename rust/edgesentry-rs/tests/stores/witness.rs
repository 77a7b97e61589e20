//! A witness over its two databases: one history of each log, durable before the answer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use edgesentry_log::{
    AddCheckpoint, Checkpoint, EvidenceKind, KeyType, Note, NoteSignature, SignerKey, Tree, TreeHash,
    WitnessRefusal, WitnessedLogs, consistency_path, witness_path,
};
use edgesentry_rs::error::StoreError;
use edgesentry_rs::ledger::{
    EvidenceRow, MAX_EVIDENCE_PER_KIND, NewEvidence, PostgresSettings, WitnessAccess, WitnessTables,
    WitnessedChange, WitnessedRow, open_witness,
};
use edgesentry_rs::log::{Witness, WitnessError, bind_witness};
use edgesentry_rs::telemetry::metrics::Metrics;
use futures::future::join_all;
use tokio::sync::Notify;

use crate::common::{Kind, Place};
use crate::on_every_ledger;

on_every_ledger!(
    a_witness_cosigns_one_history_of_each_log,
    a_state_is_replaced_only_if_it_is_the_expected_one,
    two_processes_with_one_state_cosign_one_history,
    requests_that_arrive_together_are_all_answered,
    contradictions_are_kept_and_bounded,
    evidence_names_only_what_was_cosigned,
    a_panic_ends_one_transaction,
    a_witness_whose_clock_is_behind_says_so,
    a_witness_that_was_rolled_back_notices_its_own_cosignature,
    a_state_belongs_to_one_key,
    a_state_that_is_missing_is_not_made_again,
);

fn log_key(origin: &str) -> SignerKey {
    SignerKey::from_seed(origin, KeyType::Ed25519, *edgesentry_chain::Hash::of(origin.as_bytes()).as_bytes())
        .unwrap()
}

pub fn witness_key() -> SignerKey {
    SignerKey::from_seed("witness.example", KeyType::CosignatureV1, [77; 32]).unwrap()
}

fn origin(number: u8) -> String {
    format!("log.example/{number}")
}

/// The trees of a log: two of one side agree, and those of two sides differ from their first leaf on.
fn tree(side: u8, size: u64) -> Tree {
    let mut tree = Tree::default();
    (0..size).for_each(|n| tree.push(TreeHash::of_leaf(&[side, n.to_le_bytes()[0]])));
    tree
}

fn request(log: u8, side: u8, old: u64, size: u64) -> String {
    let tree = tree(side, size);
    let proof = consistency_path(old, size, |node| tree.node(node)).unwrap();
    let checkpoint = Checkpoint::new(&origin(log), size, tree.root()).unwrap();
    let note = checkpoint.sign(&log_key(&origin(log))).unwrap();
    AddCheckpoint::new(old, proof, note).unwrap().to_string()
}

fn logs(count: u8) -> WitnessedLogs {
    let lines: String = (0..count).map(|log| format!("log {}\n", log_key(&origin(log)).verifier())).collect();
    WitnessedLogs::parse(lines.as_bytes()).unwrap()
}

/// Returns the state, in a file or database beside the ledger of the place.
pub async fn state(place: &Place, access: WitnessAccess) -> Arc<dyn WitnessTables> {
    let url = match place.kind {
        Kind::Sqlite => format!("sqlite:{}", place.path("witness.db").display()),
        Kind::Postgres => place.url.clone(),
    };
    open_witness(&url.into(), access, &PostgresSettings::default()).await.unwrap()
}

async fn witness(place: &Place, count: u8) -> Witness {
    let tables = state(place, WitnessAccess::Create).await;
    Witness::start(tables, logs(count), witness_key(), Metrics::new())
}

async fn add(witness: &Witness, request: &str) -> Result<NoteSignature, u16> {
    witness.add_checkpoint(request.as_bytes()).await.map_err(|error| error.status())
}

/// Returns the size of the last cosigned checkpoint, after verification of its note.
async fn size(witness: &Witness, log: u8) -> Option<u64> {
    let note = witness.latest(&witness_path(&origin(log))).await.unwrap()?;
    let note = Note::parse(&note).unwrap();
    let (log, own) = (log_key(&origin(log)), witness_key());
    assert_eq!(note.verify([log.verifier(), own.verifier()]).unwrap().len(), 2);
    Some(Checkpoint::parse(note.text()).unwrap().size())
}

async fn a_witness_cosigns_one_history_of_each_log(place: Place) {
    let witness = witness(&place, 2).await;
    assert_eq!(size(&witness, 0).await, None);
    let line = add(&witness, &request(0, 1, 0, 3)).await.unwrap();
    let note = Checkpoint::new(&origin(0), 3, tree(1, 3).root()).unwrap().to_string();
    Note::assemble(&note, [line]).unwrap().verify([witness_key().verifier()]).unwrap();
    assert_eq!(size(&witness, 0).await, Some(3));
    assert_eq!(size(&witness, 1).await, None);

    for (request, status) in [
        ("old 0\n", 400),
        (&*request(2, 1, 0, 3), 404),
        (&request(0, 1, 0, 5), 409),
        (&request(0, 2, 3, 5), 422),
        (&request(0, 2, 3, 3), 422),
    ] {
        assert_eq!(add(&witness, request).await.unwrap_err(), status, "{request}");
        assert_eq!(size(&witness, 0).await, Some(3));
    }
    add(&witness, &request(0, 1, 3, 3)).await.unwrap();
    add(&witness, &request(0, 1, 3, 9)).await.unwrap();
    add(&witness, &request(1, 2, 0, 4)).await.unwrap();
    let text = witness.metrics().text();
    for (status, answers) in [(200, 4), (400, 1), (403, 0), (404, 1), (409, 1), (422, 2), (503, 0)] {
        let series = format!("edgesentry_witness_answers_total{{status=\"{status}\"}} {answers}\n");
        assert!(text.contains(&series), "{series} {text}");
    }

    // After a restart the state is the same, and a repeated request gets its line again only by hand.
    drop(witness);
    let witness = self::witness(&place, 2).await;
    assert_eq!((size(&witness, 0).await, size(&witness, 1).await), (Some(9), Some(4)));
    let repeated = request(0, 1, 3, 9);
    let refused = witness.add_checkpoint(repeated.as_bytes()).await.unwrap_err();
    assert!(matches!(refused, WitnessError::Refused(WitnessRefusal::Conflict { size: 9 })), "{refused}");
    let again = witness.cosign(repeated.as_bytes()).await.unwrap();
    assert_eq!(witness.cosign(repeated.as_bytes()).await.unwrap(), again);
    let note = witness.latest(&witness_path(&origin(0))).await.unwrap().unwrap();
    assert!(String::from_utf8(note.to_vec()).unwrap().ends_with(&format!("{again}\n")));
    assert_eq!(witness.cosign(request(0, 2, 3, 9).as_bytes()).await.unwrap_err().status(), 409);

    // A log that was removed from the settings is not cosigned, and its last checkpoint is still shown.
    let tables = state(&place, WitnessAccess::Existing).await;
    let witness = Witness::start(tables, logs(1), witness_key(), Metrics::new());
    let witness = witness.with_former_logs().await.unwrap();
    assert_eq!(add(&witness, &request(1, 2, 4, 6)).await, Err(404));
    assert_eq!((size(&witness, 0).await, size(&witness, 1).await), (Some(9), Some(4)));
}

async fn a_state_is_replaced_only_if_it_is_the_expected_one(place: Place) {
    let tables = state(&place, WitnessAccess::Create).await;
    let row = |size: u64, side: u8| WitnessedRow {
        origin: origin(0),
        size,
        root: tree(side, size).root(),
        note: b"note\n".to_vec(),
        at: 7,
    };
    let change = |from: Option<(u64, u8)>, to: WitnessedRow| WitnessedChange {
        from: from.map(|(size, side)| (size, tree(side, size).root())),
        to,
    };
    let swapped = async |change| tables.swap(vec![change], Vec::new()).await.unwrap();
    assert_eq!(swapped(change(Some((3, 1)), row(4, 1))).await, [false]);
    assert_eq!(swapped(change(None, row(3, 1))).await, [true]);
    assert_eq!(swapped(change(None, row(5, 1))).await, [false]);
    assert_eq!(swapped(change(Some((3, 2)), row(5, 2))).await, [false]);
    assert_eq!(swapped(change(Some((2, 1)), row(5, 1))).await, [false]);
    assert_eq!(tables.all_witnessed().await.unwrap(), [row(3, 1)]);
    let two = vec![change(Some((3, 1)), row(5, 1)), change(Some((5, 1)), row(6, 1))];
    assert_eq!(tables.swap(two, Vec::new()).await.unwrap(), [true, true]);
    assert_eq!(tables.witnessed(vec![origin(0), origin(1)]).await.unwrap(), [row(6, 1)]);
}

async fn two_processes_with_one_state_cosign_one_history(place: Place) {
    let witnesses = [witness(&place, 1).await, witness(&place, 1).await];
    // Both get both histories at the same time, again and again.
    for round in 0..20_u64 {
        let old = size(&witnesses[0], 0).await.unwrap_or(0);
        let requests =
            [request(0, 1, old, old + 1), request(0, 2, old, old + 1), request(0, 1, old, old + 2)];
        let asked =
            witnesses.iter().flat_map(|witness| requests.iter().map(move |request| add(witness, request)));
        let answers = join_all(asked).await;
        let lines = answers.iter().filter(|answer| answer.is_ok()).count();
        assert!(lines >= 1, "round {round}: {answers:?}");
        for (number, answer) in answers.iter().enumerate() {
            let is_other = number % requests.len() == 1;
            match answer {
                // The first checkpoint decides the history; it may be either.
                Ok(_) => assert!(round == 0 || !is_other || side(&place).await == 2),
                Err(status) => assert!([409, 422, 503].contains(status), "{status}"),
            }
        }
    }
    let rows = state(&place, WitnessAccess::Existing).await.all_witnessed().await.unwrap();
    assert!([1, 2].iter().any(|side| tree(*side, rows[0].size).root() == rows[0].root));
    assert!(rows[0].size >= 20, "{}", rows[0].size);
}

/// Returns the side of the cosigned history.
async fn side(place: &Place) -> u8 {
    let rows = state(place, WitnessAccess::Existing).await.all_witnessed().await.unwrap();
    if tree(1, rows[0].size).root() == rows[0].root { 1 } else { 2 }
}

async fn requests_that_arrive_together_are_all_answered(place: Place) {
    let witness = witness(&place, 200).await;
    for old in [0_u64, 2] {
        let requests: Vec<String> = (0..200).map(|log| request(log, 1, old, old + 2)).collect();
        let answers = join_all(requests.iter().map(|request| add(&witness, request))).await;
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
    // Some of one log, in any order.
    let requests: Vec<String> = (4..30).map(|size| request(7, 1, 4, size + 1)).collect();
    let answers = join_all(requests.iter().map(|request| add(&witness, request))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(409))), "{answers:?}");
}

/// Returns a request with a proof that shows nothing.
fn with_junk(request: &str) -> String {
    let request = AddCheckpoint::parse(request.as_bytes()).unwrap();
    let junk = request.proof().iter().map(|_| TreeHash::of_leaf(b"junk")).collect();
    AddCheckpoint::new(request.old(), junk, request.note().clone()).unwrap().to_string()
}

async fn contradictions_are_kept_and_bounded(place: Place) {
    let witness = witness(&place, 2).await;
    add(&witness, &request(0, 1, 0, 3)).await.unwrap();
    add(&witness, &request(1, 1, 0, 3)).await.unwrap();
    let last = witness.latest(&witness_path(&origin(0))).await.unwrap().unwrap();
    // Any sender can attach a bad proof to a checkpoint of the log: that proves nothing.
    for size in 4..60 {
        assert_eq!(add(&witness, &with_junk(&request(0, 1, 3, size))).await.unwrap_err(), 422);
    }
    let tables = state(&place, WitnessAccess::Read).await;
    assert_eq!(tables.evidence().await.unwrap(), []);
    // The same size with another root, and a larger size whose proof leads to another root at this size.
    let (same, larger) = (request(0, 2, 3, 3), request(0, 2, 3, 8));
    for _ in 0..3 {
        assert_eq!(add(&witness, &same).await.unwrap_err(), 422);
        assert_eq!(add(&witness, &request(0, 2, 1, 3)).await.unwrap_err(), 409);
        assert_eq!(add(&witness, &larger).await.unwrap_err(), 422);
        assert_eq!(add(&witness, &with_junk(&larger)).await.unwrap_err(), 422);
    }
    let text = witness.metrics().text();
    assert!(text.contains("edgesentry_witness_two_roots 2\n"), "{text}");
    let evidence = tables.evidence().await.unwrap();
    let kept: BTreeSet<String> =
        evidence.iter().map(|row| String::from_utf8(row.request.clone()).unwrap()).collect();
    assert_eq!(kept, BTreeSet::from([same, larger]));
    for row in &evidence {
        assert_eq!(
            (row.origin.as_str(), row.kind, &*row.last),
            (&*origin(0), EvidenceKind::TwoRoots, &*last)
        );
    }
    // Who has the key of the log can sign any number of roots.
    for size in 9..60 {
        assert_eq!(add(&witness, &request(0, 2, 3, size)).await.unwrap_err(), 422);
    }
    assert_eq!(tables.evidence_count().await.unwrap(), MAX_EVIDENCE_PER_KIND);
    assert_eq!(tables.evidence().await.unwrap().len() as u64, MAX_EVIDENCE_PER_KIND);
}

/// The state of a witness that waits, panics, or is changed by another process between a decision and its transaction.
struct Disturbed {
    tables: Arc<dyn WitnessTables>,
    is_held: AtomicBool,
    go_on: Notify,
    panics: AtomicBool,
    before: Mutex<Option<WitnessedChange>>,
}

#[async_trait]
impl WitnessTables for Disturbed {
    fn place(&self) -> &str {
        self.tables.place()
    }

    async fn witnessed(&self, origins: Vec<String>) -> Result<Vec<WitnessedRow>, StoreError> {
        assert!(!self.panics.swap(false, Ordering::SeqCst), "as asked");
        if self.is_held.swap(false, Ordering::SeqCst) {
            self.go_on.notified().await;
        }
        self.tables.witnessed(origins).await
    }

    async fn all_witnessed(&self) -> Result<Vec<WitnessedRow>, StoreError> {
        self.tables.all_witnessed().await
    }

    async fn last_witnessed(&self) -> Result<Option<u64>, StoreError> {
        self.tables.last_witnessed().await
    }

    async fn bound(&self) -> Result<Option<String>, StoreError> {
        self.tables.bound().await
    }

    async fn bind(&self, vkey: String) -> Result<String, StoreError> {
        self.tables.bind(vkey).await
    }

    async fn swap(
        &self,
        changes: Vec<WitnessedChange>,
        evidence: Vec<NewEvidence>,
    ) -> Result<Vec<bool>, StoreError> {
        let before = {
            let mut before = self.before.lock().unwrap();
            let is_of = |change: &WitnessedChange| {
                before.as_ref().is_some_and(|before| before.to.origin == change.to.origin)
            };
            if changes.iter().any(is_of) { before.take() } else { None }
        };
        if let Some(change) = before {
            assert_eq!(self.tables.swap(vec![change], Vec::new()).await?, [true]);
        }
        self.tables.swap(changes, evidence).await
    }

    async fn evidence_count(&self) -> Result<u64, StoreError> {
        self.tables.evidence_count().await
    }

    async fn evidence(&self) -> Result<Vec<EvidenceRow>, StoreError> {
        self.tables.evidence().await
    }
}

async fn disturbed(place: &Place, count: u8) -> (Arc<Disturbed>, Witness) {
    let tables = Arc::new(Disturbed {
        tables: state(place, WitnessAccess::Create).await,
        is_held: AtomicBool::new(false),
        go_on: Notify::new(),
        panics: AtomicBool::new(false),
        before: Mutex::new(None),
    });
    let witness = Witness::start(tables.clone(), logs(count), witness_key(), Metrics::new());
    (tables, witness)
}

/// Returns a row as a witness writes it.
fn row(log: u8, side: u8, size: u64, at: u64) -> WitnessedRow {
    let checkpoint = Checkpoint::new(&origin(log), size, tree(side, size).root()).unwrap();
    let mut note = checkpoint.sign(&log_key(&origin(log))).unwrap();
    note.add(checkpoint.cosign(&witness_key(), at).unwrap()).unwrap();
    WitnessedRow {
        origin: origin(log),
        size,
        root: checkpoint.root(),
        note: note.to_string().into_bytes(),
        at,
    }
}

async fn evidence_names_only_what_was_cosigned(place: Place) {
    let (tables, witness) = disturbed(&place, 2).await;
    // The first request holds the transaction, so that the others come together.
    tables.is_held.store(true, Ordering::SeqCst);
    let (first, one, other) = (request(1, 1, 0, 3), request(0, 1, 0, 3), request(0, 2, 3, 3));
    let theirs = row(0, 2, 3, 7);
    let go_on = async {
        // Polled last, so all requests are sent.
        tokio::task::yield_now().await;
        tables.go_on.notify_one();
    };
    let (first, one, other, ()) =
        tokio::join!(add(&witness, &first), add(&witness, &one), add(&witness, &other), go_on);
    first.unwrap();
    // Without another process, the first one is cosigned and the other one contradicts it.
    assert_eq!((one.is_ok(), other), (true, Err(422)));
    let evidence = tables.evidence().await.unwrap();
    assert_eq!(evidence.len(), 1);
    assert_eq!(size(&witness, 0).await, Some(3));

    // Another process cosigns the other history first: then the first request contradicts.
    let place = Place::new(place.kind).await;
    let (tables, witness) = disturbed(&place, 2).await;
    tables.is_held.store(true, Ordering::SeqCst);
    *tables.before.lock().unwrap() = Some(WitnessedChange { from: None, to: theirs.clone() });
    let (first, one, other) = (request(1, 1, 0, 3), request(0, 1, 0, 3), request(0, 2, 3, 3));
    let go_on = async {
        tokio::task::yield_now().await;
        tables.go_on.notify_one();
    };
    let (first, one, other, ()) =
        tokio::join!(add(&witness, &first), add(&witness, &one), add(&witness, &other), go_on);
    first.unwrap();
    assert_eq!((one, other.is_ok()), (Err(409), true));
    let evidence = tables.evidence().await.unwrap();
    let rows: Vec<_> = evidence.iter().map(|row| (row.last == theirs.note, row.request.as_slice())).collect();
    assert_eq!(rows, [(true, request(0, 1, 0, 3).as_bytes())], "no note that was never cosigned");
}

async fn a_panic_ends_one_transaction(place: Place) {
    let (tables, witness) = disturbed(&place, 1).await;
    tables.panics.store(true, Ordering::SeqCst);
    assert_eq!(add(&witness, &request(0, 1, 0, 3)).await, Err(500));
    add(&witness, &request(0, 1, 0, 3)).await.unwrap();
    witness.check().await.unwrap();
}

async fn a_witness_whose_clock_is_behind_says_so(place: Place) {
    let (tables, witness) = disturbed(&place, 1).await;
    witness.check().await.unwrap();
    let ahead = edgesentry_formats::times::now_ms() / 1000 + 5000;
    let change = WitnessedChange { from: None, to: row(0, 1, 3, ahead) };
    assert_eq!(tables.swap(vec![change], Vec::new()).await.unwrap(), [true]);
    // The operator must set the clock.
    assert_eq!(add(&witness, &request(0, 1, 3, 5)).await, Err(500));
    assert!(matches!(witness.check().await, Err(WitnessError::Clock { .. })));
}

async fn a_witness_that_was_rolled_back_notices_its_own_cosignature(place: Place) {
    let tables = state(&place, WitnessAccess::Create).await;
    let witness = Witness::start(tables.clone(), logs(2), witness_key(), Metrics::new());
    let cosigned = async |witness: &Witness, request: &str| {
        let line = add(witness, request).await.unwrap();
        let request = AddCheckpoint::parse(request.as_bytes()).unwrap();
        let mut note = request.note().clone();
        note.add(line).unwrap();
        note
    };
    cosigned(&witness, &request(0, 1, 0, 3)).await;
    let old = tables.all_witnessed().await.unwrap().remove(0);
    let newer = cosigned(&witness, &request(0, 1, 3, 9)).await;
    let with = |old: u64, note: &Note| {
        let tree = tree(1, 9);
        let proof = consistency_path(old, 9, |node| tree.node(node)).unwrap();
        AddCheckpoint::new(old, proof, note.clone()).unwrap().to_string()
    };
    // It knows its own line.
    add(&witness, &with(9, &newer)).await.unwrap();
    assert_eq!(add(&witness, &with(3, &newer)).await, Err(409));
    witness.check().await.unwrap();
    // A line that does not hold is that of a stranger.
    let mut forged = AddCheckpoint::parse(request(0, 1, 9, 12).as_bytes()).unwrap().note().clone();
    forged.add(newer.signatures()[1].clone()).unwrap();
    let larger = tree(1, 12);
    let proof = consistency_path(9, 12, |node| larger.node(node)).unwrap();
    let forged = AddCheckpoint::new(9, proof, forged).unwrap().to_string();

    let now = tables.all_witnessed().await.unwrap().remove(0);
    let change = WitnessedChange { from: Some((now.size, now.root)), to: old };
    assert_eq!(tables.swap(vec![change], Vec::new()).await.unwrap(), [true]);
    assert_eq!(add(&witness, &forged).await, Err(409));
    witness.check().await.unwrap();
    // The size of the state, as the protocol says; and no cosignature from there on.
    assert_eq!(add(&witness, &with(9, &newer)).await, Err(409));
    assert!(matches!(witness.check().await, Err(WitnessError::RolledBack { size: 9 })));
    assert_eq!(add(&witness, &with(3, &newer)).await, Err(500));
    assert_eq!(tables.all_witnessed().await.unwrap()[0].size, 3);
    let text = witness.metrics().text();
    assert!(text.contains("edgesentry_witness_rolled_back_total 2\n"), "{text}");
    // A state that was lost.
    let empty = Place::new(place.kind).await;
    let lost =
        Witness::start(state(&empty, WitnessAccess::Create).await, logs(2), witness_key(), Metrics::new());
    assert_eq!(add(&lost, &with(0, &newer)).await, Err(500));
    assert_eq!(size(&lost, 0).await, None);
}

async fn a_state_belongs_to_one_key(place: Place) {
    let tables = state(&place, WitnessAccess::Create).await;
    let other = SignerKey::from_seed("other.example", KeyType::CosignatureV1, [78; 32]).unwrap();
    assert_eq!(tables.bound().await.unwrap(), None);
    bind_witness(&*tables, witness_key().verifier()).await.unwrap();
    bind_witness(&*tables, witness_key().verifier()).await.unwrap();
    let error = bind_witness(&*tables, other.verifier()).await.unwrap_err().to_string();
    assert!(error.contains(&witness_key().verifier().to_string()) && error.contains("belongs to"), "{error}");
    // A state of an earlier release belongs to the key whose cosignatures it has.
    let place = Place::new(place.kind).await;
    let tables = state(&place, WitnessAccess::Create).await;
    let change = WitnessedChange { from: None, to: row(0, 1, 3, 7) };
    tables.swap(vec![change], Vec::new()).await.unwrap();
    let error = bind_witness(&*tables, other.verifier()).await.unwrap_err().to_string();
    assert!(error.contains("belongs to the key witness.example"), "{error}");
    bind_witness(&*tables, witness_key().verifier()).await.unwrap();
    let tables = state(&place, WitnessAccess::Existing).await;
    assert_eq!(tables.bound().await.unwrap(), Some(witness_key().verifier().to_string()));
}

async fn a_state_that_is_missing_is_not_made_again(place: Place) {
    let url = match place.kind {
        Kind::Sqlite => format!("sqlite:{}", place.path("witness.db").display()),
        Kind::Postgres => place.url.clone(),
    };
    let open = async |access| open_witness(&url.clone().into(), access, &PostgresSettings::default()).await;
    for access in [WitnessAccess::Existing, WitnessAccess::Read] {
        assert_eq!(open(access).await.err().unwrap().code(), "config");
    }
    drop(open(WitnessAccess::Create).await.unwrap());
    drop(open(WitnessAccess::Existing).await.unwrap());
    // A ledger is not the state of a witness.
    let ledger = Place::new(place.kind).await;
    drop(ledger.ledger().await);
    let error =
        open_witness(&ledger.url.clone().into(), WitnessAccess::Create, &PostgresSettings::default()).await;
    assert!(error.err().unwrap().to_string().contains("other tables"));
}
