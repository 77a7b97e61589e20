//! Notes, keys, checkpoints, cosignatures and policies: the accepted forms, and rejection of all others.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;

use edgesentry_log::{
    Checkpoint, CheckpointError, KeyType, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, NoteKeyError,
    NoteSignature, Policy, PolicyError, SignerKey, TreeHash, VerifierKey,
};
use proptest::prelude::*;

const ORIGIN: &str = "log.example/lifts";

fn log_key(seed: u8) -> SignerKey {
    SignerKey::from_seed(ORIGIN, KeyType::Ed25519, [seed; 32]).unwrap()
}

fn witness(n: u8) -> SignerKey {
    SignerKey::from_seed(&format!("w{n}.example"), KeyType::CosignatureV1, [100 + n; 32]).unwrap()
}

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint::new(ORIGIN, size, TreeHash::of_leaf(b"")).unwrap()
}

/// Returns a checkpoint signed by the log, and by these witnesses at these times.
fn cosigned(witnesses: &[(u8, u64)]) -> Note {
    let mut note = checkpoint(7).sign(&log_key(1)).unwrap();
    for (n, time) in witnesses {
        note.add(checkpoint(7).cosign(&witness(*n), *time).unwrap()).unwrap();
    }
    note
}

fn policy(rest: &str) -> Policy {
    Policy::parse(format!("log {}\n{}{rest}", log_key(1).verifier(), witness_lines(4)).as_bytes()).unwrap()
}

fn witness_lines(count: u8) -> String {
    (0..count).fold(String::new(), |mut lines, n| {
        writeln!(lines, "witness w{n} {}", witness(n).verifier()).unwrap();
        lines
    })
}

#[test]
fn notes_are_read_as_the_specification_has_them() {
    let line = log_key(1).verifier().clone();
    let good = checkpoint(7).sign(&log_key(1)).unwrap().to_string();
    assert!(Note::parse(good.as_bytes()).unwrap().verify([&line]).is_ok());
    let signature = good.lines().last().unwrap().to_owned();
    let base64 = signature.rsplit(' ').next().unwrap();
    for (what, bad) in [
        ("no empty line", good.replace("\n\n", "\n")),
        ("no line feed at the end", good.trim_end().to_owned()),
        ("carriage returns", good.replace('\n', "\r\n")),
        ("a hyphen", good.replace('—', "-")),
        ("two spaces", good.replace("— ", "—  ")),
        ("two spaces behind the name", good.replace("lifts ", "lifts  ")),
        ("no signature", good.split("—").next().unwrap().to_owned()),
        ("a tab", good.replace("lifts\n", "lif\tts\n")),
        ("an escape", good.replace("lifts\n", "lifts\u{9b}\n")),
        ("an empty line behind", format!("{good}\n")),
        ("a line behind", format!("{good}more\n")),
        ("no padding", good.replace('=', "")),
        ("a plus in the name", good.replace("— log", "— l+og")),
        ("a space in the name", good.replace("— log", "— l\u{a0}og")),
        ("the key id alone", good.replace(base64, "AAAAAA==")),
        ("nothing behind the name", good.replace(base64, "")),
        ("other alphabet", good.replace(base64, &base64.replace(['+', '/'], "-"))),
        ("space at the end", good.replace(base64, &format!("{base64} "))),
    ] {
        assert!(Note::parse(bad.as_bytes()).is_err(), "{what}: {bad:?}");
    }
    assert_eq!(Note::parse(b"\xff\n\n"), Err(NoteError::Characters));
    // The last character has bits beyond the last byte.
    let last = base64.trim_end_matches('=').chars().last().unwrap();
    let other = char::from_u32(u32::from(last) + 1).unwrap();
    let position = good.rfind(last).unwrap();
    let mut bad = good.clone();
    bad.replace_range(position..=position, &other.to_string());
    assert_eq!(Note::parse(bad.as_bytes()), Err(NoteError::SignatureLine(1)));
}

#[test]
fn the_last_empty_line_ends_the_text() {
    let text = "a\n\nb\n";
    let note = Note::sign(text, &log_key(1)).unwrap();
    let read = Note::parse(note.to_string().as_bytes()).unwrap();
    assert_eq!(read.text(), text);
    assert!(read.verify([log_key(1).verifier()]).is_ok());
    for text in ["", "a", "\u{7}\n", "a\r\n"] {
        assert!(Note::sign(text, &log_key(1)).is_err(), "{text:?}");
    }
}

#[test]
fn notes_have_limits() {
    let mut note = checkpoint(7).sign(&log_key(0)).unwrap();
    let line = |n: usize| NoteSignature::parse(&format!("— w{n} AAAAAAAA")).unwrap();
    for n in 1..MAX_SIGNATURES {
        note.add(line(n)).unwrap();
    }
    assert_eq!(note.add(line(0)), Err(NoteError::TooManySignatures));
    assert_eq!(Note::parse(note.to_string().as_bytes()), Ok(note.clone()));
    let more = format!("{note}{}\n", line(0));
    assert_eq!(Note::parse(more.as_bytes()), Err(NoteError::TooManySignatures));

    let large = "x".repeat(MAX_NOTE_BYTES) + "\n";
    assert!(matches!(Note::sign(&large, &log_key(0)), Err(NoteError::TooLarge(_))));
    assert!(matches!(Note::parse(large.as_bytes()), Err(NoteError::TooLarge(_))));
}

#[test]
fn signatures_of_known_keys_must_hold_and_others_are_ignored() {
    let (ours, other) = (log_key(1), log_key(2));
    let (ours, other) = (ours.verifier(), other.verifier());
    let cosigner = witness(0);
    let note = cosigned(&[(0, 5)]);
    assert_eq!(note.verify([ours]).unwrap().len(), 1);
    assert_eq!(note.verify([other]), Err(NoteError::NotTrusted));
    assert_eq!(note.verify([]), Err(NoteError::NotTrusted));
    let both = note.verify([ours, witness(0).verifier()]).unwrap().len();
    assert_eq!(both, 2);
    // A key given twice counts once.
    assert_eq!(note.verify([ours, ours]).unwrap().len(), 1);

    let twice = format!("{note}{}\n", note.signatures()[0]);
    let twice = Note::parse(twice.as_bytes()).unwrap();
    assert!(matches!(twice.verify([ours]), Err(NoteError::Repeated { .. })));
    assert_eq!(twice.verify([witness(0).verifier()]).unwrap().len(), 1);

    // Every byte of a signature matters, and so does the time of a cosignature.
    for (at, signature) in note.signatures().iter().enumerate() {
        for byte in 0..signature.bytes().len() {
            let line = signature.to_string();
            let mut bytes = signature.bytes().to_vec();
            bytes[byte] ^= 1;
            let id = signature.id().0;
            let changed = base64_line(signature.name(), &[&id, bytes.as_slice()].concat());
            let note = note.to_string().replace(&line, &changed);
            let note = Note::parse(note.as_bytes()).unwrap();
            let verified = note.verify([ours, cosigner.verifier()]);
            assert!(matches!(verified, Err(NoteError::Invalid { .. })), "{at} {byte}");
        }
    }
}

fn base64_line(name: &str, bytes: &[u8]) -> String {
    use base64::Engine;
    format!("— {name} {}", base64::engine::general_purpose::STANDARD.encode(bytes))
}

#[test]
fn keys_are_read_as_they_are_written_and_not_otherwise() {
    for kind in [KeyType::Ed25519, KeyType::CosignatureV1] {
        let signer = SignerKey::from_seed(ORIGIN, kind, [9; 32]).unwrap();
        let (public, secret) = (signer.verifier().to_string(), signer.secret_text());
        assert_eq!(public.parse::<VerifierKey>().unwrap(), *signer.verifier());
        let again = SignerKey::parse(&secret).unwrap();
        assert_eq!(again.verifier(), signer.verifier());
        assert_eq!(again.secret_text(), secret);
        assert!(!format!("{signer:?}").contains(secret.rsplit('+').next().unwrap()));
        let id = signer.verifier().id().to_string();
        for bad in [
            public.replace(&id, "00000000"),
            public.replace(&id, &id[1..]),
            public.replace(&id, &format!("{id}0")),
            public.replacen("log", "l g", 1),
            public.replacen("log", "lug", 1),
            public[..public.len() - 1].to_owned(),
            format!("{public}="),
            format!("{public} "),
            format!("{public}\n"),
            public.rsplit_once('+').unwrap().0.to_owned(),
            String::new(),
            "+".into(),
            "++".into(),
            secret.to_string(),
        ] {
            assert!(bad.parse::<VerifierKey>().is_err(), "{bad}");
        }
    }
    let upper =
        log_key(1).verifier().to_string().replace(&log_key(1).verifier().id().to_string(), "ABCDEF01");
    assert!(matches!(upper.parse::<VerifierKey>(), Err(NoteKeyError::Form(_))));
    assert!(matches!(SignerKey::from_seed("a+b", KeyType::Ed25519, [0; 32]), Err(NoteKeyError::Name(_))));
    assert!(matches!(SignerKey::from_seed("", KeyType::Ed25519, [0; 32]), Err(NoteKeyError::Name(_))));
    // A point of small order, under which anyone can sign.
    let mut weak = vec![1_u8, 1];
    weak.extend([0; 31]);
    let weak = base64_line("x", &weak).rsplit(' ').next().unwrap().to_owned();
    assert!(matches!(format!("x+00000000+{weak}").parse::<VerifierKey>(), Err(NoteKeyError::Key(_))));
    let newer = base64_line("x", &[6; 1313]).rsplit(' ').next().unwrap().to_owned();
    assert_eq!(format!("x+00000000+{newer}").parse::<VerifierKey>(), Err(NoteKeyError::Type(6)));
}

#[test]
fn checkpoints_are_three_lines_and_nothing_else() {
    let good = checkpoint(7).to_string();
    assert_eq!(Checkpoint::parse(&good), Ok(checkpoint(7)));
    for bad in [
        good.replace("\n7\n", "\n07\n"),
        good.replace("\n7\n", "\n+7\n"),
        good.replace("\n7\n", "\n-7\n"),
        good.replace("\n7\n", "\n\n"),
        good.replace("\n7\n", "\n9223372036854775808\n"),
        good.replace("\n7\n", "\n99999999999999999999999\n"),
        good.replace("\n7\n", "\n7\r\n"),
        good.replace("\n7\n", "\n7 \n"),
        good.replace("\n7\n", "\n٧\n"),
        good.replace("\n7\n", "\n0\n"),
        good.replace(ORIGIN, ""),
        good.replace(ORIGIN, &"x".repeat(256)),
        good.replace('=', ""),
        good.trim_end().to_owned(),
        String::new(),
        "\n".into(),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
    assert_eq!(Checkpoint::parse(&format!("{good}more\n")), Err(CheckpointError::Extension));
    assert_eq!(Checkpoint::parse(&format!("{good}\n")), Err(CheckpointError::Extension));
    assert!(Checkpoint::new(ORIGIN, (1 << 63) - 1, TreeHash::EMPTY).is_ok());
    assert!(Checkpoint::new(ORIGIN, 1 << 63, TreeHash::EMPTY).is_err());
    assert_eq!(Checkpoint::new(ORIGIN, 0, TreeHash::of_leaf(b"")), Err(CheckpointError::EmptyRoot));
    assert!(Checkpoint::new("a\nb", 0, TreeHash::EMPTY).is_err());
}

#[test]
fn keys_sign_only_for_their_purpose() {
    let other = SignerKey::from_seed("other", KeyType::Ed25519, [1; 32]).unwrap();
    assert!(matches!(checkpoint(7).sign(&other), Err(CheckpointError::KeyName { .. })));
    assert!(matches!(checkpoint(7).cosign(&log_key(1), 5), Err(NoteError::WrongType { .. })));
    let named = SignerKey::from_seed(ORIGIN, KeyType::CosignatureV1, [1; 32]).unwrap();
    assert!(checkpoint(7).sign(&named).is_err());
    assert_eq!(checkpoint(7).cosign(&witness(0), 1 << 63), Err(NoteError::Time(1 << 63)));
    assert!(checkpoint(7).cosign(&witness(0), (1 << 63) - 1).is_ok());
}

#[test]
fn the_policy_decides_the_quorum() {
    let trusted = |rest: &str, witnesses: &[(u8, u64)]| policy(rest).evaluate(&cosigned(witnesses));
    let time =
        |rest: &str, witnesses: &[(u8, u64)]| trusted(rest, witnesses).map(|trusted| trusted.quorum_time());
    assert_eq!(time("quorum none\n", &[]), Ok(None));
    assert_eq!(time("quorum w2\n", &[(2, 50), (1, 90)]), Ok(Some(50)));
    assert!(matches!(time("quorum w2\n", &[(1, 50)]), Err(PolicyError::QuorumMissing { .. })));
    let two = "group g 2 w0 w1 w2\nquorum g\n";
    assert!(time(two, &[(0, 5)]).is_err() && time(two, &[(0, 5), (3, 6)]).is_err());
    // A witness with a fast clock does not make the checkpoint look newer.
    assert_eq!(time(two, &[(0, 5), (1, 1 << 40)]), Ok(Some(5)));
    assert_eq!(time(two, &[(0, 5), (1, 1 << 40), (2, 9)]), Ok(Some(9)));
    let nested = "group a any w0 w1\ngroup b all w2 w3\ngroup c 2 a b\nquorum c\n";
    assert!(time(nested, &[(0, 1), (2, 1)]).is_err());
    assert_eq!(time(nested, &[(0, 1), (1, 8), (2, 6), (3, 7)]), Ok(Some(6)));

    let error = trusted(two, &[(3, 4)]).unwrap_err().to_string();
    assert_eq!(error, "the checkpoint lacks cosignatures: those of [\"w3\"] do not satisfy the quorum g");
    let cosigned = trusted(two, &[(0, 5), (2, 6)]).unwrap();
    let names: Vec<&str> = cosigned.cosigned().iter().map(|cosigned| cosigned.witness.as_str()).collect();
    assert_eq!((names, cosigned.checkpoint()), (vec!["w0", "w2"], &checkpoint(7)));
}

#[test]
fn a_checkpoint_needs_the_signature_of_its_own_log() {
    let policy = policy("quorum w0\n");
    // The witness has signed, the log has not.
    let note = cosigned(&[(0, 5)]).retain(|signature| signature.name() != ORIGIN);
    assert_eq!(policy.evaluate(&note), Err(PolicyError::UnknownLog(ORIGIN.into())));
    // Another log of the policy has signed a checkpoint in the name of this one.
    let other = SignerKey::from_seed("other.example", KeyType::Ed25519, [3; 32]).unwrap();
    let two = format!("log {}\nlog {}\nquorum none\n", log_key(1).verifier(), other.verifier());
    let note = Note::sign(&checkpoint(7).to_string(), &other).unwrap();
    assert_eq!(
        Policy::parse(two.as_bytes()).unwrap().evaluate(&note),
        Err(PolicyError::UnknownLog(ORIGIN.into()))
    );
    // A key that is not in the policy.
    let note = checkpoint(7).sign(&log_key(2)).unwrap();
    assert_eq!(policy.evaluate(&note), Err(PolicyError::UnknownLog(ORIGIN.into())));
    // A witness line from another checkpoint: a known key whose signature does not hold.
    let mut note = checkpoint(7).sign(&log_key(1)).unwrap();
    note.add(checkpoint(8).cosign(&witness(0), 5).unwrap()).unwrap();
    assert!(matches!(policy.evaluate(&note), Err(PolicyError::Note(NoteError::Invalid { .. }))));
    let note = Note::sign("no checkpoint\n", &log_key(1)).unwrap();
    assert!(matches!(policy.evaluate(&note), Err(PolicyError::Checkpoint(_))));
}

#[test]
fn policies_are_read_as_people_write_them() {
    let (log, w0) = (log_key(1).verifier().to_string(), witness(0).verifier().to_string());
    let text = format!(
        "# ours\n\n \t log\t{log}  https://log.example/#top # comment\nwitness é {w0} https://w0.example\n\
         group g any é # one\nquorum g"
    );
    let policy = Policy::parse(text.as_bytes()).unwrap();
    assert_eq!(policy.logs()[0].url.as_deref(), Some("https://log.example/#top"));
    assert_eq!(policy.witnesses()[0].name, "é");
    let short = policy.to_string();
    assert_eq!(
        short,
        format!(
            "log {log} https://log.example/#top\nwitness é {w0} https://w0.example\ngroup g 1 é\nquorum g\n"
        )
    );
    assert_eq!(Policy::parse(short.as_bytes()), Ok(policy));
}

#[test]
fn policies_that_contradict_themselves_are_refused() {
    let (log, lines) = (format!("log {}\n", log_key(1).verifier()), witness_lines(3));
    let w0 = witness(0).verifier().to_string();
    let same_key = SignerKey::from_seed("renamed", KeyType::CosignatureV1, [100; 32]).unwrap();
    let log_as_witness = SignerKey::from_seed("renamed", KeyType::CosignatureV1, [1; 32]).unwrap();
    for (what, rest) in [
        ("no quorum", String::new()),
        ("two quorums", "quorum none\nquorum none\n".into()),
        ("unknown quorum", "quorum w9\n".into()),
        ("group used before it is defined", "group a any b\ngroup b any w0\nquorum a\n".into()),
        ("a group of itself", "group a any a\nquorum a\n".into()),
        ("threshold 0", "group a 0 w0\nquorum a\n".into()),
        ("threshold above the members", "group a 2 w0\nquorum a\n".into()),
        ("threshold that is none", "group a most w0\nquorum a\n".into()),
        ("threshold with a zero in front", "group a 01 w0\nquorum a\n".into()),
        ("no members", "group a all\nquorum a\n".into()),
        ("no members, any", "group a any\nquorum a\n".into()),
        ("a member twice", "group a 2 w0 w0\nquorum a\n".into()),
        ("a member of two groups", "group a any w0\ngroup b any w0\nquorum a\n".into()),
        ("a name twice", "group w0 any w1\nquorum w0\n".into()),
        ("the name none", "group none any w1\nquorum none\n".into()),
        ("none as a member", "group a any none\nquorum a\n".into()),
        ("a witness twice", format!("witness w7 {w0}\nquorum none\n")),
        ("a key under another name", format!("witness w7 {}\nquorum none\n", same_key.verifier())),
        ("the log as its own witness", format!("witness w7 {}\nquorum none\n", log_as_witness.verifier())),
        ("a log twice", format!("{log}quorum none\n")),
        ("a witness as log", format!("log {}\nquorum none\n", witness(9).verifier())),
        ("a log as witness", format!("witness w7 {}\nquorum none\n", log_key(9).verifier())),
        ("more words", format!("log {} url more\nquorum none\n", log_key(9).verifier())),
        ("an unknown word", "timeout 5\nquorum none\n".into()),
        ("quorum of two", "quorum w0 w1\n".into()),
        ("a carriage return", "quorum none\r\n".into()),
        ("a NUL", "quorum none\0\n".into()),
    ] {
        assert!(Policy::parse(format!("{log}{lines}{rest}").as_bytes()).is_err(), "{what}");
    }
    assert!(matches!(Policy::parse(b"\xff"), Err(PolicyError::Characters(1))));
    assert!(matches!(Policy::parse(&[b' '; 200_000]), Err(PolicyError::TooLarge(200_000))));
}

proptest! {
    #[test]
    fn notes_that_are_read_are_written_so(
        text in "[a-c\n]{0,8}", names in proptest::collection::vec("[a-z./]{1,4}", 1..4), base64 in "[A-D+/]{8}(AA==|AAA=)?",
        junk in "[ \n—+]{0,2}",
    ) {
        let lines: String = names.iter().map(|name| format!("— {name}{junk} {base64}\n")).collect();
        let bytes = format!("{text}\n\n{lines}");
        if let Ok(note) = Note::parse(bytes.as_bytes()) {
            prop_assert_eq!(note.to_string(), bytes);
        }
    }

    #[test]
    fn checkpoints_that_are_read_are_written_so(size in "[0-9]{1,20}", origin in ".{0,3}", tail in "[A-Z]{43}=") {
        let text = format!("{origin}\n{size}\n{tail}\n");
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.to_string(), text);
        }
    }

    #[test]
    fn signed_notes_are_read_and_hold(text in "([ -~é—]{0,20}\n){0,4}[ -~é]{1,20}\n", seed: [u8; 32]) {
        let key = SignerKey::from_seed("name", KeyType::Ed25519, seed).unwrap();
        let note = Note::sign(&text, &key).unwrap();
        let read = Note::parse(note.to_string().as_bytes()).unwrap();
        prop_assert_eq!(&read, &note);
        prop_assert_eq!(read.verify([key.verifier()]).unwrap().len(), 1);
        let shorter = Note::sign(&format!("{text}x\n"), &key).unwrap();
        let line = shorter.signatures()[0].clone();
        let forged = format!("{text}\n{line}\n");
        prop_assert!(Note::parse(forged.as_bytes()).unwrap().verify([key.verifier()]).is_err());
    }

    #[test]
    fn a_damaged_note_is_refused_or_has_the_same_content(at: prop::sample::Index, bit in 0_u8..8) {
        let note = cosigned(&[(0, 5)]);
        let mut bytes = note.to_string().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let keys = [log_key(1), witness(0)];
        let verified = Note::parse(&bytes).and_then(|note| {
            let verified = note.verify(keys.iter().map(SignerKey::verifier))?.len();
            Ok((note.text().to_owned(), verified))
        });
        // A changed name or key id turns one line into that of an unknown key; the other line still holds, over the
        // same text.
        if let Ok((text, verified)) = verified {
            prop_assert_eq!((text.as_str(), verified), (note.text(), 1));
        }
    }
}
