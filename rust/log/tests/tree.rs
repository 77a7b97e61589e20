//! Tests the tree against a naive one: roots, compact ranges, proofs, tiles.

#![allow(clippy::unwrap_used)]

use edgesentry_log::{
    CompactRange, EntryBundle, NodeId, ProofError, RangeError, Tile, TileId, TileKind, Tree, TreeHash,
    consistency_nodes, consistency_path, inclusion_nodes, inclusion_path, new_tiles, verify_consistency,
    verify_inclusion,
};
use proptest::prelude::*;
use sha2::{Digest, Sha256};

#[path = "../../checked.rs"]
mod checked;

/// Computes the root exactly as RFC 6962, section 2.1, states it, independent of the code under test.
fn naive(leaves: &[Vec<u8>]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => Sha256::digest([&[0], leaf.as_slice()].concat()).into(),
        _ => {
            let mut split = 1;
            while split * 2 < leaves.len() {
                split *= 2;
            }
            let (left, right) = leaves.split_at(split);
            Sha256::digest([&[1], naive(left).as_slice(), &naive(right)].concat()).into()
        }
    }
}

fn leaf(n: usize) -> Vec<u8> {
    format!("leaf {n}").into_bytes()
}

fn range(begin: usize, end: usize) -> CompactRange {
    let mut range = CompactRange::new(begin as u64).unwrap();
    (begin..end).for_each(|n| range.push(TreeHash::of_leaf(&leaf(n))));
    range
}

/// Returns the tree of the leaves 0 to `size` - 1, and its root at each size.
fn grown(size: usize) -> (Tree, Vec<TreeHash>) {
    let mut tree = Tree::default();
    let mut roots = vec![tree.root()];
    for n in 0..size {
        tree.push(TreeHash::of_leaf(&leaf(n)));
        roots.push(tree.root());
    }
    (tree, roots)
}

#[test]
fn roots_are_those_of_the_certificate_transparency_test_tree() {
    // The eight leaves of the common RFC 6962 test vectors.
    let inputs =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    let leaves: Vec<Vec<u8>> = inputs.iter().map(|hex| hex::decode(hex).unwrap()).collect();
    let mut range = CompactRange::default();
    for size in 0..=leaves.len() {
        assert_eq!(range.root().unwrap().0, naive(&leaves[..size]), "size {size}");
        if let Some(next) = leaves.get(size) {
            range.push(TreeHash::of_leaf(next));
        }
    }
    let root = hex::encode(range.root().unwrap().0);
    assert_eq!(root, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
}

#[test]
fn every_split_of_a_range_merges_to_the_same() {
    let size = 40;
    for begin in 0..size {
        for end in begin..=size {
            let whole = range(begin, end);
            for middle in begin..=end {
                let mut left = range(begin, middle);
                left.merge(&range(middle, end)).unwrap();
                assert_eq!(left, whole, "{begin}..{middle}..{end}");
            }
            let hashes: Vec<TreeHash> = whole.hashes().collect();
            assert_eq!(CompactRange::from_hashes(begin as u64, end as u64, &hashes), Ok(whole));
        }
    }
    let leaves: Vec<Vec<u8>> = (0..size).map(leaf).collect();
    assert_eq!(range(0, size).root().unwrap().0, naive(&leaves));
}

#[test]
fn ranges_that_do_not_fit_are_refused() {
    let mut left = range(0, 5);
    assert_eq!(left.merge(&range(6, 9)), Err(RangeError::NotAdjacent { end: 5, begin: 6 }));
    assert_eq!(left, range(0, 5));
    assert_eq!(range(3, 9).root(), Err(RangeError::NoRoot(3)));
    assert!(CompactRange::new(1 << 63).is_err());
    assert!(CompactRange::from_hashes(4, 3, &[]).is_err());
    let hash = TreeHash::EMPTY;
    assert_eq!(
        CompactRange::from_hashes(0, 7, &[hash; 2]),
        Err(RangeError::HashCount { expected: 3, actual: 2 })
    );
    assert!(CompactRange::from_hashes(1, (1 << 63) - 1, &[hash; 124]).is_ok());
}

proptest! {
    #[test]
    fn ranges_merge_in_any_order(
        size in 1_usize..2000,
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(size)).chain([0, size]).collect();
        cuts.sort_unstable();
        let mut ranges: Vec<CompactRange> = cuts.windows(2).map(|pair| range(pair[0], pair[1])).collect();
        for at in order {
            if ranges.len() > 1 {
                let at = at.index(ranges.len() - 1);
                let right = ranges.remove(at + 1);
                ranges[at].merge(&right).unwrap();
            }
        }
        let mut all = ranges.remove(0);
        ranges.iter().for_each(|right| all.merge(right).unwrap());
        let leaves: Vec<Vec<u8>> = (0..size).map(leaf).collect();
        prop_assert_eq!(all.root().unwrap().0, naive(&leaves));
        prop_assert_eq!(all, range(0, size));
    }
}

#[test]
fn inclusion_is_proven_for_every_leaf_of_every_size() {
    let (tree, roots) = grown(300);
    for size in 1..=300_u64 {
        let root = roots[size as usize];
        for index in 0..size {
            let mut asked = Vec::new();
            let path = inclusion_path(index, size, |node| {
                asked.push(node);
                tree.node(node)
            });
            let path = path.unwrap();
            let hash = TreeHash::of_leaf(&leaf(index as usize));
            verify_inclusion(hash, index, size, &path, root).unwrap();
            assert_eq!(inclusion_nodes(index, size).unwrap(), asked);
            assert!(path.len() as u32 <= u64::BITS - (size - 1).leading_zeros());
        }
    }
}

#[test]
fn inclusion_fails_after_every_single_change() {
    let (tree, roots) = grown(40);
    for size in 1..=40_u64 {
        let root = roots[size as usize];
        for index in 0..size {
            let path = inclusion_path(index, size, |node| tree.node(node)).unwrap();
            let hash = TreeHash::of_leaf(&leaf(index as usize));
            let holds =
                |hash, index, size, path: &[TreeHash], root| verify_inclusion(hash, index, size, path, root);
            for (other_index, other_size) in (0..=41).map(|n| (n, size)).chain((0..=41).map(|n| (index, n))) {
                // A path alone does not determine the size; the root does. Two sizes fit one path only if the shape is
                // the same, and then the checkpoint determines the size.
                let same_shape = other_index == index && shape(index, size) == shape(index, other_size);
                if (other_index, other_size) != (index, size) && !same_shape {
                    assert!(holds(hash, other_index, other_size, &path, root).is_err(), "{index} {size}");
                }
            }
            assert!(holds(flipped(hash), index, size, &path, root).is_err());
            assert!(holds(hash, index, size, &path, flipped(root)).is_err());
            for changed in changes(&path) {
                assert!(holds(hash, index, size, &changed, root).is_err(), "{index} {size} {changed:?}");
            }
        }
    }
}

/// Returns the sides of the siblings of a leaf, from the leaf up.
fn shape(index: u64, size: u64) -> Option<Vec<bool>> {
    if index >= size {
        return None;
    }
    let (mut begin, mut end) = (0, size);
    let mut sides = Vec::new();
    while end - begin > 1 {
        let middle = begin + (1 << (end - begin - 1).ilog2());
        sides.push(index < middle);
        if index < middle { end = middle } else { begin = middle }
    }
    sides.reverse();
    Some(sides)
}

#[test]
fn consistency_is_proven_between_all_sizes() {
    let (tree, roots) = grown(300);
    for new in 0..=300_u64 {
        for old in 0..=new {
            let mut asked = Vec::new();
            let path = consistency_path(old, new, |node| {
                asked.push(node);
                tree.node(node)
            });
            let path = path.unwrap();
            verify_consistency(old, roots[old as usize], new, roots[new as usize], &path).unwrap();
            assert_eq!(consistency_nodes(old, new).unwrap(), asked);
            assert!(path.len() <= 63);
        }
    }
}

#[test]
fn consistency_fails_after_every_single_change() {
    let (tree, roots) = grown(40);
    for new in 0..=40_u64 {
        for old in 0..=new {
            let (old_root, new_root) = (roots[old as usize], roots[new as usize]);
            let path = consistency_path(old, new, |node| tree.node(node)).unwrap();
            assert!(verify_consistency(old, flipped(old_root), new, new_root, &path).is_err(), "{old} {new}");
            // Every tree extends the empty one, so the proof does not depend on the root of the new one.
            if old > 0 {
                assert!(
                    verify_consistency(old, old_root, new, flipped(new_root), &path).is_err(),
                    "{old} {new}"
                );
            }
            for other in (0..=41).filter(|other| *other != old) {
                assert!(
                    verify_consistency(other, old_root, new, new_root, &path).is_err(),
                    "{old} {new} {other}"
                );
            }
            for changed in changes(&path) {
                assert!(verify_consistency(old, old_root, new, new_root, &changed).is_err(), "{old} {new}");
            }
        }
    }
}

fn flipped(mut hash: TreeHash) -> TreeHash {
    hash.0[17] ^= 4;
    hash
}

/// Returns the path with a hash changed, removed, repeated, added, or two exchanged.
fn changes(path: &[TreeHash]) -> Vec<Vec<TreeHash>> {
    let mut all = vec![[path, &[TreeHash::EMPTY]].concat(), [&[TreeHash::EMPTY], path].concat()];
    for at in 0..path.len() {
        let mut changed = path.to_vec();
        changed[at] = flipped(changed[at]);
        all.push(changed);
        let mut changed = path.to_vec();
        changed.remove(at);
        all.push(changed);
        let mut changed = path.to_vec();
        changed.insert(at, path[at]);
        all.push(changed);
        if at > 0 {
            let mut changed = path.to_vec();
            changed.swap(at - 1, at);
            all.push(changed);
        }
    }
    all
}

#[test]
fn numbers_out_of_range_are_refused() {
    let hash = TreeHash::EMPTY;
    for (index, size) in [(0, 0), (5, 5), (u64::MAX, 5), (u64::MAX, u64::MAX), (0, u64::MAX), (0, 1 << 63)] {
        assert!(verify_inclusion(hash, index, size, &[], hash).is_err(), "{index} {size}");
        assert!(inclusion_path(index, size, |_| Some(hash)).is_err());
    }
    for (old, new) in [(1, 0), (6, 5), (u64::MAX, u64::MAX), (1, u64::MAX), (0, 1 << 63)] {
        assert!(verify_consistency(old, hash, new, hash, &[]).is_err(), "{old} {new}");
        assert!(consistency_path(old, new, |_| Some(hash)).is_err());
    }
    let largest = (1 << 63) - 1;
    let path = inclusion_path(largest - 1, largest, |_| Some(hash)).unwrap();
    assert!(matches!(verify_inclusion(hash, largest - 1, largest, &path, hash), Err(ProofError::Root(_))));
    assert!(consistency_path(largest - 1, largest, |_| Some(hash)).is_ok());
    assert_eq!(inclusion_path(0, 2, |_| None), Err(ProofError::MissingNode(NodeId { level: 0, index: 1 })));
}

#[test]
fn a_tree_is_computed_from_its_tiles() {
    let size = 256 * 3 + 77;
    let (tree, roots) = grown(size);
    // Written in steps, as a log grows. A wider tile replaces a partial one.
    let mut tiles: std::collections::BTreeMap<String, Vec<u8>> = Default::default();
    let steps = [0, 1, 255, 256, 257, 700, size];
    for step in steps.windows(2) {
        for id in new_tiles(step[0] as u64, step[1] as u64) {
            let bytes = match id.kind() {
                TileKind::Entries => {
                    EntryBundle::write(id, id.nodes().map(|node| leaf(node.index as usize))).unwrap()
                }
                TileKind::Hashes(_) => Tile::from_nodes(id, |node| tree.node(node)).unwrap().to_bytes(),
            };
            tiles.insert(id.to_string(), bytes);
        }
    }
    assert!(tiles.contains_key("tile/0/000.p/1") && tiles.contains_key("tile/1/000.p/3"));
    assert!(!tiles.contains_key("tile/1/000.p/4") && !tiles.contains_key("tile/0/003.p/256"));

    for at in steps {
        let at = at as u64;
        let node = |node: NodeId| {
            let id = TileId::of_node(node, at)?;
            Tile::parse(id, tiles.get(&id.to_string())?).unwrap().node(node)
        };
        for index in (0..at).step_by(61) {
            let path = inclusion_path(index, at, node).unwrap();
            let id = TileId::of_entry(index, at).unwrap();
            let bundle = tiles[&id.to_string()].clone();
            let bundle = EntryBundle::parse(id, &bundle).unwrap();
            let hash = TreeHash::of_leaf(bundle.entries()[index as usize % 256]);
            verify_inclusion(hash, index, at, &path, roots[at as usize]).unwrap();
        }
    }
    let whole = TileId::of_node(NodeId { level: 8, index: 0 }, size as u64).unwrap();
    assert_eq!(whole.to_string(), "tile/1/000.p/3");
    assert_eq!(TileId::of_node(NodeId { level: 8, index: 3 }, size as u64), None);
}

#[test]
fn paths_of_tiles_are_read_as_they_are_written_and_not_otherwise() {
    let id = |text: &str| text.parse::<TileId>();
    for (kind, index, width, text) in [
        (TileKind::Hashes(0), 0, 256, "tile/0/000"),
        (TileKind::Hashes(0), 273, 112, "tile/0/273.p/112"),
        (TileKind::Hashes(2), 999, 1, "tile/2/999.p/1"),
        (TileKind::Entries, 1_000, 256, "tile/entries/x001/000"),
        (TileKind::Entries, 1_234_067, 255, "tile/entries/x001/x234/067.p/255"),
        (TileKind::Hashes(0), (1 << 55) - 1, 255, "tile/0/x036/x028/x797/x018/x963/967.p/255"),
    ] {
        let tile = TileId::new(kind, index, width).unwrap();
        assert_eq!(tile.to_string(), text);
        assert_eq!(id(text), Ok(tile));
    }
    for text in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/8/000",
        "tile/63/000",
        "tile/-1/000",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/x1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/0/000/",
        "/tile/0/000",
        "tile/8/0/000",
        "tile/data/000",
        "tile/entries/000.p/1/",
        "tile/0/x001/000.p/+1",
        "tile/0/x999/x999/x999/x999/x999/999",
        "tile/0/xx01/000",
        "tile/0/١٢٣",
        "tile/0/x-01/000",
    ] {
        assert!(id(text).is_err(), "{text}");
    }
    assert_eq!(TileId::new(TileKind::Hashes(7), 0, 128), None);
    assert!(TileId::new(TileKind::Hashes(7), 0, 127).is_some());
    assert_eq!(TileId::new(TileKind::Entries, u64::MAX, 256), None);
}

#[test]
fn tiles_and_bundles_of_another_length_are_refused() {
    let id: TileId = "tile/0/000.p/2".parse().unwrap();
    for length in [0, 32, 63, 65, 96] {
        assert!(Tile::parse(id, &vec![0; length]).is_err(), "{length}");
    }
    let entries: TileId = "tile/entries/000.p/2".parse().unwrap();
    assert!(Tile::parse(entries, &[0; 64]).is_err());
    assert!(EntryBundle::parse(id, b"\0\0\0\0").is_err());
    assert!(EntryBundle::parse(entries, b"\0\0\0\0").is_ok());
    for bytes in [b"".as_slice(), b"\0\0\0", b"\0\0\0\x01", b"\0\0\0\0\0", b"\0\x01\0\0", b"\xff\xff\0\0"] {
        assert!(EntryBundle::parse(entries, bytes).is_err(), "{bytes:?}");
    }
    assert!(EntryBundle::write(entries, [vec![0; 65_535], vec![]]).is_ok());
    assert!(EntryBundle::write(entries, [vec![0; 65_536], vec![]]).is_err());
    assert!(EntryBundle::write(entries, [[0; 1]]).is_err());
    assert!(EntryBundle::write(entries, [[0; 1]; 3]).is_err());
}

proptest! {
    #[test]
    fn bundles_that_are_read_are_written_so(bytes in proptest::collection::vec(0_u8..4, 0..40), width in 1_u16..6) {
        let id = TileId::new(TileKind::Entries, 9, width).unwrap();
        if let Ok(bundle) = EntryBundle::parse(id, &bytes) {
            prop_assert_eq!(EntryBundle::write(id, bundle.entries()).unwrap(), bytes);
        }
    }

    #[test]
    fn tile_paths_that_are_read_are_written_so(text in "(tile/)?(entries|[0-9]{1,2})/(x?[0-9]{2,3}/){0,3}[0-9]{3}(.p/[0-9]{1,3})?") {
        if let Ok(id) = text.parse::<TileId>() {
            prop_assert_eq!(id.to_string(), text);
        }
    }

    #[test]
    fn tiles_have_no_nodes_that_are_elsewhere(level in 0_u8..66, index: u64, size: u64) {
        let node = NodeId { level, index };
        if let Some(id) = TileId::of_node(node, size) {
            prop_assert_eq!(id.to_string().parse::<TileId>().unwrap(), id);
        }
        let id = "tile/0/x001/000".parse().unwrap();
        let tile = Tile::parse(id, &[0; 32 * 256]).unwrap();
        let inside = level < 8 && index.checked_mul(1 << level).is_some_and(|first| first / 256 == 1000);
        prop_assert_eq!(tile.node(node).is_some(), inside);
    }
}
