//! Invisible characters.

/// Returns true if a character has no glyph, or one that looks like a space or like nothing.
///
/// These are, by the Unicode Character Database (versions 14 to 17 differ only in later format controls, which are
/// added): the general categories Cc, Cf, Zl, Zp, Co and Zs without U+0020; `Default_Ignorable_Code_Point`;
/// `Noncharacter_Code_Point`; and four that fonts leave blank (U+2800, U+16FE4, U+1D159, U+FFFC).
pub fn is_unseen(character: char) -> bool {
    let code = u32::from(character);
    if (0x20..0x7F).contains(&code) {
        return false;
    }
    let at = UNSEEN.partition_point(|(first, _)| *first <= code);
    at > 0 && UNSEEN[at - 1].1 >= code
}

/// First and last code point of each range, in order.
const UNSEEN: [(u32, u32); 49] = [
    (0x0000, 0x001F),
    (0x007F, 0x00A0),
    (0x00AD, 0x00AD),
    (0x034F, 0x034F),
    (0x0600, 0x0605),
    (0x061C, 0x061C),
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
    (0x115F, 0x1160),
    (0x1680, 0x1680),
    (0x17B4, 0x17B5),
    (0x180B, 0x180F),
    (0x2000, 0x200F),
    (0x2028, 0x202F),
    (0x205F, 0x206F),
    (0x2800, 0x2800),
    (0x3000, 0x3000),
    (0x3164, 0x3164),
    (0xE000, 0xF8FF),
    (0xFDD0, 0xFDEF),
    (0xFE00, 0xFE0F),
    (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0),
    (0xFFF0, 0xFFFC),
    (0xFFFE, 0xFFFF),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x16FE4, 0x16FE4),
    (0x1BCA0, 0x1BCA3),
    (0x1D159, 0x1D159),
    (0x1D173, 0x1D17A),
    (0x1FFFE, 0x1FFFF),
    (0x2FFFE, 0x2FFFF),
    (0x3FFFE, 0x3FFFF),
    (0x4FFFE, 0x4FFFF),
    (0x5FFFE, 0x5FFFF),
    (0x6FFFE, 0x6FFFF),
    (0x7FFFE, 0x7FFFF),
    (0x8FFFE, 0x8FFFF),
    (0x9FFFE, 0x9FFFF),
    (0xAFFFE, 0xAFFFF),
    (0xBFFFE, 0xBFFFF),
    (0xCFFFE, 0xCFFFF),
    (0xDFFFE, 0xE0FFF),
    (0xEFFFE, 0xFFFFF),
    (0x100000, 0x10FFFF),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_in_order() {
        assert!(UNSEEN.iter().all(|(first, last)| first <= last));
        assert!(UNSEEN.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }

    #[test]
    fn visible_characters_are_not_escaped() {
        for seen in "aZ09 ~:#é漢字ひ한ع→½😀\u{301}\u{fffd}".chars() {
            assert!(!is_unseen(seen), "{seen:?}");
        }
    }

    #[test]
    fn invisible_characters_are_escaped() {
        for unseen in [
            '\0',
            '\t',
            '\n',
            '\x1b',
            '\x7f',
            '\u{9b}',
            '\u{a0}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{17b5}',
            '\u{180e}',
            '\u{2003}',
            '\u{200b}',
            '\u{200d}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2800}',
            '\u{3000}',
            '\u{3164}',
            '\u{e000}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{ffff}',
            '\u{1d159}',
            '\u{e0001}',
            '\u{e0061}',
            '\u{e01ef}',
            '\u{f0000}',
            '\u{10ffff}',
        ] {
            assert!(is_unseen(unseen), "{unseen:?}");
        }
        assert!((0..=0x10FFFF).filter_map(char::from_u32).filter(|c| c.is_control()).all(is_unseen));
        let spaces = (0..=0x10FFFF).filter_map(char::from_u32).filter(|c| c.is_whitespace());
        assert!(spaces.filter(|space| *space != ' ').all(is_unseen));
    }
}
