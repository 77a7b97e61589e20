use std::fmt::Debug;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::json::split::ObjectEnd;

/// Runs a step by the model and by all instructions of this CPU, and returns the one result.
fn by_blocks<S: Step<Output: PartialEq + Debug> + Copy>(step: S) -> S::Output {
    let mut outputs = run_all(step);
    let output = outputs.swap_remove(1);
    outputs[1..].iter().for_each(|other| assert_eq!(*other, output));
    output
}

#[derive(Clone, Copy)]
struct Integers<'a, const N: usize>(&'a [u8], usize);

impl<const N: usize> Step for Integers<'_, N> {
    type Output = Option<([u8; N], usize)>;

    fn compute<B: Block>(self, cpu: Option<B::Cpu>) -> Self::Output {
        integers::<B, N>(cpu?, self.0, self.1)
    }
}

#[derive(Clone, Copy)]
struct Hex<'a, const N: usize>(&'a [u8]);

impl<const N: usize> Step for Hex<'_, N> {
    type Output = Option<([u8; N], usize)>;

    fn compute<B: Block>(self, cpu: Option<B::Cpu>) -> Self::Output {
        hex::<B, N>(cpu?, self.0, 0)
    }
}

#[derive(Clone, Copy)]
struct PlainString<'a>(&'a [u8]);

impl Step for PlainString<'_> {
    type Output = Option<usize>;

    fn compute<B: Block>(self, cpu: Option<B::Cpu>) -> Self::Output {
        plain_string::<B>(cpu?, self.0)
    }
}

/// All operations on two blocks.
#[derive(Clone, Copy)]
struct Operations<'a>(&'a [u8; BLOCK], &'a [u8; BLOCK]);

impl Step for Operations<'_> {
    type Output = (Vec<u64>, Vec<Vec<u8>>, Option<[u8; BLOCK / 2]>);

    fn compute<B: Block>(self, cpu: Option<B::Cpu>) -> Self::Output {
        let Some(cpu) = cpu else { return Default::default() };
        let bytes = |block: B, mask: u64| {
            let mut out = [0; BLOCK];
            block.compress(mask, &mut out);
            out[..mask.count_ones() as usize].to_vec()
        };
        let (a, b) = (B::load(cpu, self.0), B::load(cpu, self.1));
        let mask = a.high_bits() ^ b.equal(b.min(a));
        let blocks = [
            a,
            a.fill(self.0[0]),
            a.add(b),
            a.add_saturating(b),
            a.min(b),
            a.or_high_bits(b),
            a.lookup(self.1[..16].try_into().unwrap()),
        ];
        let mut all: Vec<Vec<u8>> = blocks.iter().map(|block| bytes(*block, u64::MAX)).collect();
        all.extend([mask, !mask, mask & mask << 1, 0, 1, 1 << 63].map(|mask| bytes(a, mask)));
        (vec![a.equal(b), a.equal(a), a.equal(a.min(b)), a.high_bits()], all, a.hex())
    }
}

/// Text as devices write it: integers with a comma, and white space after commas and at the end.
fn array(values: &[u8], spaces: &[&str]) -> Vec<u8> {
    let mut text = b"{\"signature\":[".to_vec();
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend(spaces[at % spaces.len()].bytes());
        text.extend(value.to_string().bytes());
    }
    text.extend(spaces[values.len() % spaces.len()].bytes());
    text.push(b']');
    text
}

/// Checks the integers of an array, which begins at byte 13, against a general parser, and returns true if they are
/// decoded.
fn check<const N: usize>(text: &[u8]) -> bool {
    let Some((values, end)) = by_blocks(Integers::<N>(text, 14)) else { return false };
    let rest = &text[end..];
    let close = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if rest.get(close) != Some(&b']') {
        // The caller refuses the array.
        return false;
    }
    let expected: Vec<u8> = serde_json::from_slice(&text[13..end + close + 1]).unwrap();
    assert_eq!(values[..], expected, "{}", String::from_utf8_lossy(text));
    true
}

/// Returns the text with zeros after it, as in a chunk.
fn padded(mut text: Vec<u8>) -> Vec<u8> {
    text.extend([0; BLOCK]);
    text
}

const SPACES: [&[&str]; 4] = [&[""], &["", " ", " "], &["\n      "], &["", "\r\n\t", "", "  "]];

fn values(length: usize) -> impl Strategy<Value = Vec<u8>> {
    // Integers of one, two and three digits.
    proptest::collection::vec(prop_oneof![0..=12u8, 90..=110u8, 190..=210u8, any::<u8>()], length)
}

proptest! {
    #[test]
    fn instructions_are_those_of_the_model(a: [[u8; 32]; 2], b: [[u8; 32]; 2], is_text: bool) {
        let block = |bytes: [[u8; 32]; 2]| -> [u8; BLOCK] {
            let bytes = bytes.concat();
            std::array::from_fn(|i| if is_text { b"0123456789aAfFgG, \xb0\x80"[bytes[i] as usize % 20] } else { bytes[i] })
        };
        by_blocks(Operations(&block(a), &block(b)));
        let digits: [u8; BLOCK] = std::array::from_fn(|i| b"0123456789abcdefABCDEF"[block(a)[i] as usize % 22]);
        prop_assert!(by_blocks(Operations(&digits, &block(b))).2.is_some());
    }

    #[test]
    fn integers_are_those_of_a_general_parser(values in values(64), spaces in 0..4usize) {
        let text = padded(array(&values, SPACES[spaces]));
        prop_assert!(check::<64>(&text));
        // The number of integers must be right.
        prop_assert!(!check::<32>(&text));
        let text = padded(array(&values[32..], SPACES[spaces]));
        prop_assert!(check::<32>(&text));
        prop_assert!(!check::<64>(&text));
    }

    #[test]
    fn damaged_integers_are_those_of_a_general_parser(
        values in values(32), spaces in 0..4usize,
        edits in proptest::collection::vec((any::<Index>(), prop::sample::select(&b"0123456789,,]] \n\r\t[-+.eE\"x\x00\x0b\x80\xb0\xba\xff:;/"[..]), any::<bool>()), 1..4),
    ) {
        let mut text = array(&values, SPACES[spaces]);
        for (at, byte, inserts) in edits {
            let at = 14 + at.index(text.len() - 14);
            match inserts {
                true => text.insert(at, byte),
                false => text[at] = byte,
            }
        }
        check::<32>(&padded(text));
    }

    #[test]
    fn hex_digits_are_those_of_the_library(bytes: [[u8; 32]; 2], at: Index, byte: u8, upper: bool) {
        let mut text = hex::encode(bytes.concat()).into_bytes();
        if upper {
            text.make_ascii_uppercase();
        }
        text.push(b'"');
        for text in [text.clone(), { text[at.index(129)] = byte; text }] {
            let decoded = by_blocks(Hex::<64>(&text));
            let expected = (text[128] == b'"').then(|| hex::decode(&text[..128]).ok()).flatten();
            prop_assert_eq!(decoded.map(|(bytes, _)| bytes.to_vec()), expected);
            prop_assert!(decoded.is_none_or(|(_, end)| end == 129));
            prop_assert_eq!(by_blocks(Hex::<32>(&text)), None);
            let half = text[128] == b'"' && hex::decode(&text[64..128]).is_ok();
            prop_assert_eq!(by_blocks(Hex::<32>(&text[64..])).is_some(), half);
        }
    }

    #[test]
    fn strings_end_as_byte_by_byte(text in "[ -~\u{0}-\u{20}é\"\\\\]{0,200}") {
        let text = padded(text.into_bytes());
        let end = text.iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20);
        let expected = end.filter(|end| text[*end] == b'"' && end / BLOCK < text.len() / BLOCK);
        prop_assert_eq!(by_blocks(PlainString(&text)), expected);
    }

    #[test]
    fn objects_end_as_byte_by_byte(text in "[{}\"\\\\a]{0,150}", gap in 0..70usize) {
        let text = format!("{{{}{text}", "a".repeat(gap));
        let mut outputs = run_all(ObjectEnd(text.as_bytes()));
        outputs.dedup();
        prop_assert_eq!(outputs.len(), 1, "{}: {:?}", text, outputs);
    }
}

#[test]
fn forms_of_integers_at_every_place() {
    let values: Vec<u8> = (0..32).map(|at| [0, 7, 10, 99, 100, 199, 200, 255][at % 8]).collect();
    for at in 0..32 {
        for (form, is_usual) in [
            ("255", true),
            ("\n\t 0", true),
            ("256", false),
            ("260", false),
            ("300", false),
            ("999", false),
            ("1000", false),
            ("00", false),
            ("01", false),
            ("001", false),
            ("-1", false),
            ("1e2", false),
            ("1.0", false),
            ("", false),
            ("1 1", false),
            ("1,1", false),
            ("[1]", false),
            ("null", false),
            ("\"1\"", false),
        ] {
            let forms: Vec<String> = values.iter().map(u8::to_string).collect();
            let text = format!("[{},{form},{}]", forms[..at].join(","), forms[at + 1..].join(","));
            let text = text.replace("[,", "[").replace(",]", "]");
            let is_whole = serde_json::from_str::<Vec<u8>>(&text).is_ok_and(|values| values.len() == 32);
            let text = padded(format!("{{\"signature\":{text}").into_bytes());
            // At the ends, nothing leaves an array of 31 integers.
            assert_eq!(check::<32>(&text), is_usual, "{form} at {at}");
            assert!(!is_usual || is_whole);
        }
    }
}

/// The text ends at every byte, and other text is behind it in memory.
#[test]
fn bytes_behind_the_text_are_not_used() {
    let values: Vec<u8> = (100..164).collect();
    let (integers, digits) = (padded(array(&values, &[""])), padded(b"0f".repeat(64)));
    for cut in 0..integers.len() {
        let text: Box<[u8]> = integers[..cut].into();
        let expected = by_blocks(Integers::<64>(&text, 14));
        assert_eq!(by_blocks(Integers::<64>(&integers[..cut], 14)), expected, "{cut}");
        assert_eq!(by_blocks(ObjectEnd(&integers[..cut])), None, "{cut}");
    }
    for cut in 0..digits.len() {
        assert_eq!(by_blocks(Hex::<64>(&digits[..cut])), None);
        assert_eq!(by_blocks(PlainString(&digits[..cut])), None);
    }
}
