//! The checks in a pack of payloads and in its index, after docs/reference/packs.md.

const PACK_HEADER: usize = 64;
const FRAME_HEADER: usize = 40;
const INDEX_HEADER: usize = 64;
const PAGE: usize = 4096;

/// Puts the right checks into a pack and its index, wherever a header or a page may be.
pub fn check_packs(pack: &mut [u8], index: &mut [u8]) {
    let Some(key) = pack.get(16..48).and_then(|key| <[u8; 32]>::try_from(key).ok()) else { return };
    let check = |parts: &[&[u8]]| -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(&key);
        for part in parts {
            hasher.update(part);
        }
        std::array::from_fn(|at| hasher.finalize().as_bytes()[at])
    };
    if pack.len() >= PACK_HEADER {
        pack[..12].copy_from_slice(b"edspack\n\x01\0\0\0");
        pack[12..16].fill(0);
        let made = check(&[&pack[..48]]);
        pack[48..PACK_HEADER].copy_from_slice(&made);
    }
    for at in PACK_HEADER..pack.len().saturating_sub(FRAME_HEADER - 1) {
        let header = &pack[at..at + FRAME_HEADER];
        let name = usize::from(u16::from_le_bytes([header[12], header[13]]));
        if &header[4..8] != b"EdsF" || at + FRAME_HEADER + name > pack.len() {
            continue;
        }
        let name = &pack[at + FRAME_HEADER..at + FRAME_HEADER + name];
        let made = check(&[&header[4..24], &(at as u64).to_le_bytes(), name]);
        pack[at + 24..at + FRAME_HEADER].copy_from_slice(&made);
    }
    if index.len() < INDEX_HEADER {
        return;
    }
    let (header, pages) = index.split_at_mut(INDEX_HEADER);
    header[..12].copy_from_slice(b"edsindx\n\x01\0\0\0");
    header[12..16].fill(0);
    header[16..24].copy_from_slice(&(pack.len() as u64).to_le_bytes());
    header[32..48].fill(0);
    let made = check(&[&header[..48]]);
    header[48..].copy_from_slice(&made);
    for (number, page) in pages.chunks_exact_mut(PAGE).enumerate() {
        let made = check(&[&header[16..32], &(number as u64).to_le_bytes(), &page[16..]]);
        page[..16].copy_from_slice(&made);
    }
}
