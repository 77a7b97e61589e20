//! The container: ustar with exactly one encoding.

/// The size of a header, and the unit of padding.
pub const BLOCK_BYTES: usize = 512;
/// The name of the first member.
pub const MANIFEST_NAME: &str = "manifest";

/// The fields that are the same in each header, each with its offset.
const FIXED: [(usize, &[u8]); 10] = [
    (100, b"0000644\0"),
    (108, b"0000000\0"),
    (116, b"0000000\0"),
    (136, b"00000000000\0"),
    (148, b"        "),
    (156, b"0"),
    (257, b"ustar\0"),
    (263, b"00"),
    (329, b"0000000\0"),
    (337, b"0000000\0"),
];
const SIZE: std::ops::Range<usize> = 124..135;
const CHECKSUM: usize = 148;

/// Returns the header of a member. It depends on name and size alone, so a reader compares all 512 bytes.
///
/// The name has at most 100 bytes, the size at most 11 octal digits.
///
/// ```
/// use edgesentry_log::{manifest_bytes, member_header};
/// let header = member_header("manifest", 0o1234);
/// assert_eq!(manifest_bytes(&header), Some(0o1234));
/// assert_eq!(manifest_bytes(&member_header("manifest", 0)), None);
/// ```
pub fn member_header(name: &str, size: u64) -> [u8; BLOCK_BYTES] {
    let mut header = [0; BLOCK_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| {
        for (to, from) in header.iter_mut().skip(offset).zip(bytes) {
            *to = *from;
        }
    };
    put(0, name.as_bytes());
    put(SIZE.start, format!("{size:011o}").as_bytes());
    FIXED.iter().for_each(|(offset, bytes)| put(*offset, bytes));
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let checksum = format!("{sum:06o}\0 ");
    for (to, from) in header.iter_mut().skip(CHECKSUM).zip(checksum.as_bytes()) {
        *to = *from;
    }
    header
}

/// Returns the size of the manifest from its header, the first one of a bundle; `None` if it is another header.
pub fn manifest_bytes(header: &[u8; BLOCK_BYTES]) -> Option<u64> {
    let digits = std::str::from_utf8(&header[SIZE]).ok()?;
    let size = u64::from_str_radix(digits, 8).ok()?;
    let holds = size > 0 && *header == member_header(MANIFEST_NAME, size);
    holds.then_some(size)
}

/// Returns the number of zero bytes after a content of this size.
pub fn padding_bytes(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_BYTES as u64) - size
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_is_that_of_gnu_tar() {
        // `tar --format=ustar --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=0644 -cf - checkpoint`, 5 bytes.
        let header = member_header("checkpoint", 5);
        assert_eq!(&header[..10], b"checkpoint");
        assert_eq!(&header[100..136], b"0000644\x000000000\x000000000\x0000000000005\x00");
        assert_eq!(&header[136..157], b"00000000000\x00011252\x00 0");
        assert_eq!(&header[257..265], b"ustar\x0000");
        assert_eq!(&header[329..345], b"0000000\x000000000\x00");
        assert!(header[345..].iter().all(|byte| *byte == 0));
    }

    proptest! {
        #[test]
        fn header_of_the_manifest_has_one_encoding(size in 1_u64..1 << 33, at in 0_usize..512, value: u8) {
            let mut header = member_header(MANIFEST_NAME, size);
            prop_assert_eq!(manifest_bytes(&header), Some(size));
            let before = header[at];
            header[at] = value;
            // The checksum covers each byte, so every change is refused.
            prop_assert_eq!(manifest_bytes(&header).is_some(), before == value);
        }
    }
}
