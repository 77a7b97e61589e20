//! A witness over its two databases: one history of each log, durable before the answer.

use std::sync::Arc;

use edgesentry_log::{
    AddCheckpoint, Checkpoint, EvidenceKind, KeyType, Note, NoteSignature, SignerKey, Tree, TreeHash,
    WitnessRefusal, WitnessedLogs, consistency_path, witness_path,
};
use edgesentry_rs::ledger::{
    MAX_EVIDENCE_PER_KIND, PostgresSettings, WitnessAccess, WitnessTables, WitnessedChange, WitnessedRow,
    open_witness,
};
use edgesentry_rs::log::{Witness, WitnessError};
use edgesentry_rs::telemetry::metrics::Metrics;
use futures::future::join_all;

use crate::common::{Kind, Place};
use crate::on_every_ledger;

on_every_ledger!(
    a_witness_cosigns_one_history_of_each_log,
    a_state_is_replaced_only_if_it_is_the_expected_one,
    two_processes_with_one_state_cosign_one_history,
    requests_that_arrive_together_are_all_answered,
    contradictions_are_kept_and_bounded,
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

async fn contradictions_are_kept_and_bounded(place: Place) {
    let witness = witness(&place, 2).await;
    add(&witness, &request(0, 1, 0, 3)).await.unwrap();
    add(&witness, &request(1, 1, 0, 3)).await.unwrap();
    let last = witness.latest(&witness_path(&origin(0))).await.unwrap().unwrap();
    // Any sender can attach a bad proof; these do not displace what proves two histories.
    for size in 4..60 {
        assert_eq!(add(&witness, &request(0, 2, 3, size)).await.unwrap_err(), 422);
    }
    let other = request(0, 2, 3, 3);
    for _ in 0..3 {
        assert_eq!(add(&witness, &other).await.unwrap_err(), 422);
        assert_eq!(add(&witness, &request(0, 2, 1, 3)).await.unwrap_err(), 409);
    }
    let text = witness.metrics().text();
    assert!(text.contains("edgesentry_witness_two_roots 1\n"), "{text}");
    drop(witness);
    let evidence = state(&place, WitnessAccess::Read).await.evidence().await.unwrap();
    let of = |kind: EvidenceKind| evidence.iter().filter(move |row| row.kind == kind).collect::<Vec<_>>();
    assert_eq!(of(EvidenceKind::NotShown).len() as u64, MAX_EVIDENCE_PER_KIND);
    let proven = of(EvidenceKind::TwoRoots);
    assert_eq!(proven.len(), 1);
    assert_eq!((proven[0].origin.as_str(), &*proven[0].last), (origin(0).as_str(), &*last));
    assert_eq!(String::from_utf8(proven[0].request.clone()).unwrap(), other);
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
