//! The binary formats of the log: values read are written as the same bytes.

#![no_main]

use edgesentry_chain::AuditRecord;
use edgesentry_fuzz::{bounded, plant};
use edgesentry_log::{
    EntryBundle, HeadEntry, Layout, LayoutItem, LayoutWriter, Leaf, Tile, TileId, TileKind,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(init: plant(edgesentry_fuzz::log_binary()), |input: &[u8]| {
    let Some((&kind, bytes)) = input.split_first() else { return };
    bounded(|| judge(kind, bytes));
});

fn judge(kind: u8, bytes: &[u8]) {
    let width = u16::from(kind / 8) * 8 + 1;
    let written = match kind % 8 {
        0 => Leaf::parse(bytes).ok().map(|leaf| leaf.to_bytes()),
        1 => HeadEntry::parse(bytes).ok().map(|entry| entry.to_bytes()),
        2 => AuditRecord::from_canonical_bytes(bytes).ok().map(|record| record.canonical_bytes()),
        3 => {
            let id = TileId::new(TileKind::Entries, 7, width).expect("a small tile");
            let bundle = EntryBundle::parse(id, bytes).ok();
            bundle.map(|bundle| EntryBundle::write(id, bundle.entries()).expect("entries of a bundle"))
        }
        4 => {
            let id = TileId::new(TileKind::Hashes(1), 7, width).expect("a small tile");
            let tile = Tile::parse(id, bytes).ok();
            if let Some(tile) = &tile {
                id.nodes().for_each(|node| assert!(tile.node(node).is_some()));
            }
            tile.map(|tile| tile.to_bytes())
        }
        _ => {
            let items =
                Layout::parse(bytes).and_then(|layout| layout.collect::<Result<Vec<LayoutItem>, _>>());
            items.ok().map(|items| {
                let mut writer = LayoutWriter::default();
                items.iter().for_each(|item| writer.push(*item).expect("an item that was read"));
                writer.into_bytes()
            })
        }
    };
    if let Some(written) = written {
        assert_eq!(written, bytes);
    }
}
