//! A log appended in steps, interrupted and resumed, equals a log written at once.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use edgesentry_log::{AppendError, Appender, EntryBundle, Tile, TileId, TileKind, Tree, TreeHash, new_tiles};
use proptest::prelude::*;

type Files = BTreeMap<TileId, Vec<u8>>;

fn leaf(n: u64) -> Vec<u8> {
    vec![n as u8; (n % 7) as usize]
}

/// Writes a file like a store that rejects taken names: existing bytes must be the same.
fn put(files: &mut Files, written: Vec<(TileId, Vec<u8>)>) {
    for (id, bytes) in written {
        let there = files.entry(id).or_insert_with(|| bytes.clone());
        assert_eq!(*there, bytes, "{id} was written with other bytes");
    }
}

fn append(appender: &mut Appender, to: u64) {
    (appender.size()..to).for_each(|n| appender.push(&leaf(n)).unwrap());
}

#[test]
fn tiles_are_those_of_the_tree() {
    let mut tree = Tree::default();
    let mut appender = Appender::default();
    let mut files = Files::new();
    let mut size = 0;
    for next in [1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 66_000] {
        (size..next).for_each(|n| tree.push(TreeHash::of_leaf(&leaf(n))));
        append(&mut appender, next);
        put(&mut files, appender.take_full());
        put(&mut files, appender.partial());
        assert_eq!((appender.size(), appender.root()), (next, tree.root()));
        for id in new_tiles(size, next) {
            let bytes = match id.kind() {
                TileKind::Hashes(_) => Tile::from_nodes(id, |node| tree.node(node)).unwrap().to_bytes(),
                TileKind::Entries => EntryBundle::write(id, id.nodes().map(|node| leaf(node.index))).unwrap(),
            };
            assert_eq!(files.get(&id), Some(&bytes), "{id}");
        }
        size = next;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn steps_and_interruptions_change_nothing(steps in proptest::collection::vec((1_u64..400, any::<bool>(), any::<prop::sample::Index>()), 1..8)) {
        let mut files = Files::new();
        let mut appender = Appender::default();
        for (leaves, interrupted, written) in steps {
            let (size, root) = (appender.size(), appender.root());
            append(&mut appender, size + leaves);
            let all = [appender.take_full(), appender.partial()].concat();
            if interrupted {
                // The process ended after some files were written: it resumes from the previous size.
                put(&mut files, all[..written.index(all.len() + 1)].to_vec());
                appender = Appender::resume(size, root, |id| files.get(&id).cloned()).unwrap();
                append(&mut appender, size + leaves);
                put(&mut files, appender.take_full());
                put(&mut files, appender.partial());
            } else {
                put(&mut files, all);
            }
            let resumed = Appender::resume(appender.size(), appender.root(), |id| files.get(&id).cloned());
            prop_assert_eq!(resumed, Ok(appender.clone()));
        }
    }

    #[test]
    fn files_of_another_tree_are_refused(size in 1_u64..1_100, file: prop::sample::Index, byte: prop::sample::Index, bit in 0_u8..8) {
        let mut appender = Appender::default();
        append(&mut appender, size);
        let mut files: Files = appender.partial().into_iter().collect();
        let root = appender.root();
        let resume = |files: &Files, size, root| Appender::resume(size, root, |id| files.get(&id).cloned());
        prop_assert!(resume(&files, size, root).is_ok());
        prop_assert!(resume(&files, size, TreeHash::EMPTY).is_err());
        let Some(id) = files.keys().nth(file.index(files.len().max(1))).copied() else { return Ok(()) };
        let bytes = files.get_mut(&id).unwrap();
        if !bytes.is_empty() {
            let at = byte.index(bytes.len());
            bytes[at] ^= 1 << bit;
            prop_assert!(resume(&files, size, root).is_err());
        }
        files.remove(&id);
        prop_assert_eq!(resume(&files, size, root), Err(AppendError::Missing(id)));
    }
}

#[test]
fn a_leaf_that_is_too_long_changes_nothing() {
    let mut appender = Appender::default();
    appender.push(b"first").unwrap();
    let before = appender.clone();
    assert!(appender.push(&[0; 65_536]).is_err());
    assert_eq!(appender, before);
    appender.push(&[0; 65_535]).unwrap();
    assert!(Appender::resume(1 << 63, TreeHash::EMPTY, |_| None).is_err());
    assert!(Appender::resume(u64::MAX, TreeHash::EMPTY, |_| None).is_err());
    assert_eq!(Appender::resume(0, TreeHash::EMPTY, |_| None), Ok(Appender::default()));
}
