//! Responds to each request, one per line on standard input, with one line: `no`, or the result. The argument is the
//! directory for reading and writing tiles. The protocol is that of tests/oracles/go/main.go.

use std::io::BufRead;
use std::path::Path;

use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::{
    Error, Hash, HashReader, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record,
    prove_tree, stored_hash_index, stored_hashes, tree_hash,
};

fn main() {
    let directory = std::env::args().nth(1).expect("a directory");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split(' ').collect();
        println!("{}", answer(Path::new(&directory), &words).unwrap_or_else(|| "no".to_owned()));
    }
}

fn answer(directory: &Path, words: &[&str]) -> Option<String> {
    let number = |at: usize| words[at].parse::<u64>().ok();
    let hash = |at: usize| Some(Hash(hex::decode(words[at]).ok()?.try_into().ok()?));
    let yes = |yes: bool| yes.then(|| "ok".to_owned());
    match words[0] {
        "open" => {
            let note = Note::from_bytes(&hex::decode(words[2]).ok()?).ok()?;
            let verifier = StandardVerifier::new(words[1]).ok()?;
            note.verify(&VerifierList::new(vec![Box::new(verifier)])).ok()?;
            Some(hex::encode(note.text()))
        }
        "sign" => {
            let signer = StandardSigner::new(words[1]).ok()?;
            let mut note = Note::new(&hex::decode(words[2]).ok()?, &[]).ok()?;
            note.add_sigs(&[&signer]).ok()?;
            Some(hex::encode(note.to_bytes()))
        }
        "included" => {
            let path = path(words[5])?;
            yes(check_record(&path, number(1)?, hash(2)?, number(3)?, hash(4)?).is_ok())
        }
        "consistent" => {
            let path = path(words[5])?;
            yes(check_tree(&path, number(1)?, hash(2)?, number(3)?, hash(4)?).is_ok())
        }
        "prove-included" => {
            let tiles = Tiles(directory);
            let reader = TileHashReader::new(number(1)?, hash(2)?, &tiles);
            Some(text(&prove_record(number(1)?, number(3)?, &reader).ok()?))
        }
        "prove-consistent" => {
            let tiles = Tiles(directory);
            let reader = TileHashReader::new(number(1)?, hash(2)?, &tiles);
            Some(text(&prove_tree(number(1)?, number(3)?, &reader).ok()?))
        }
        "build" => {
            let stored = Stored::new(number(1)?);
            for tile in Tile::new_tiles(8, 0, number(1)?) {
                let file = directory.join("theirs").join(own_path(&tile));
                std::fs::create_dir_all(file.parent()?).ok()?;
                std::fs::write(file, tile.read_data(&stored).ok()?).ok()?;
            }
            Some(hex::encode(tree_hash(number(1)?, &stored).ok()?.0))
        }
        _ => None,
    }
}

fn path(text: &str) -> Option<Vec<Hash>> {
    let bytes = hex::decode(text.trim_start_matches('-')).ok()?;
    bytes.chunks(32).map(|hash| Some(Hash(hash.try_into().ok()?))).collect()
}

fn text(path: &[Hash]) -> String {
    format!("-{}", path.iter().map(|hash| hex::encode(hash.0)).collect::<String>())
}

/// The path without the height, which C2SP does not have.
fn own_path(tile: &Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

/// The tiles under test.
struct Tiles<'a>(&'a Path);

impl TileReader for Tiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let read =
            |tile| std::fs::read(self.0.join("ours").join(own_path(tile))).map_err(|_| Error::InvalidTile);
        tiles.iter().map(read).collect()
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

/// The hashes of a tree of the leaves `leaf 0`, `leaf 1`, …
struct Stored(Vec<Hash>);

impl Stored {
    fn new(size: u64) -> Stored {
        let mut stored = Stored(Vec::new());
        for n in 0..size {
            assert_eq!(stored.0.len() as u64, stored_hash_index(0, n));
            let hashes = stored_hashes(n, format!("leaf {n}").as_bytes(), &stored).expect("hashes in memory");
            stored.0.extend(hashes);
        }
        stored
    }
}

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, Error> {
        Ok(indexes.iter().map(|index| self.0[*index as usize]).collect())
    }
}
