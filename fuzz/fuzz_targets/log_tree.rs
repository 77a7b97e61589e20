//! Proofs with arbitrary numbers and hashes take limited time and memory; a valid proof equals that of the tree; ranges
//! merge to one root for every split.

#![no_main]

use edgesentry_fuzz::{bounded, plant};
use edgesentry_log::{
    CompactRange, Tree, TreeHash, consistency_path, inclusion_path, verify_consistency, verify_inclusion,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::log_tree()), |input: &[u8]| bounded(|| judge(input)));

fn judge(input: &[u8]) {
    let Some((numbers, rest)) = input.split_first_chunk::<24>() else { return };
    let number =
        |at: usize| numbers[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let (first, second, size) = (number(0), number(8), number(16) % 200);
    let path: Vec<TreeHash> = rest.as_chunks().0.iter().map(|hash| TreeHash(*hash)).collect();
    let _ = verify_inclusion(TreeHash::EMPTY, first, second, &path, TreeHash::EMPTY);
    let _ = verify_consistency(first, TreeHash::EMPTY, second, TreeHash::of_leaf(b""), &path);
    let _ = CompactRange::from_hashes(first, second, &path).map(|range| range.root());

    let leaf = |n: u64| TreeHash::of_leaf(&n.to_be_bytes());
    let range = |begin, end| {
        let mut range = CompactRange::new(begin).expect("a small number");
        (begin..end).for_each(|n| range.push(leaf(n)));
        range
    };
    let cut = first % (size + 1);
    let mut left = range(0, cut);
    let old_root = left.root();
    left.merge(&range(cut, size)).expect("neighbours");
    let mut tree = Tree::default();
    (0..size).for_each(|n| tree.push(leaf(n)));
    assert_eq!(left.root(), Ok(tree.root()));

    let made = consistency_path(cut, size, |node| tree.node(node)).expect("both sizes of one tree");
    let old_root = old_root.expect("a range from leaf 0 on");
    assert_eq!(verify_consistency(cut, old_root, size, tree.root(), &made), Ok(()));
    assert_eq!(verify_consistency(cut, old_root, size, tree.root(), &path).is_ok(), path == made);
    if cut < size {
        let made = inclusion_path(cut, size, |node| tree.node(node)).expect("a leaf of the tree");
        assert_eq!(verify_inclusion(leaf(cut), cut, size, &made, tree.root()), Ok(()));
        assert_eq!(verify_inclusion(leaf(cut), cut, size, &path, tree.root()).is_ok(), path == made);
    }
}
