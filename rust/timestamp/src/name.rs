//! Distinguished names as text.

use std::fmt::Write as _;

use crate::read::{Element, Fields, Malformed, OBJECT_ID, SEQUENCE, SET, fields};

/// The maximum length of a name in a report, characters.
const MAX_CHARACTERS: usize = 200;
/// The types of attributes that have a name.
const TYPES: [(&[u8], &str); 11] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 5], "serialNumber"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x55, 4, 97], "organizationIdentifier"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// Returns the text of a name, which is the bytes of the whole element.
pub(crate) fn text(name: &[u8]) -> String {
    let text = parse(name).unwrap_or_else(|_| hex(name));
    text.chars().take(MAX_CHARACTERS).collect()
}

fn parse(name: &[u8]) -> Result<String, Malformed> {
    let mut parts = fields(name, |name| {
        name.inside(SEQUENCE, |sets| sets.map(part).collect::<Result<Vec<String>, Malformed>>())
    })?;
    parts.reverse();
    Ok(parts.join(","))
}

fn part(set: Element<'_>) -> Result<String, Malformed> {
    let attributes = match set.tag {
        SET => Fields::of(set.content)?,
        _ => return Err(Malformed("a part of a name is not a SET")),
    };
    let attributes: Result<Vec<String>, Malformed> = attributes.map(attribute).collect();
    Ok(attributes?.join("+"))
}

fn attribute(element: Element<'_>) -> Result<String, Malformed> {
    if element.tag != SEQUENCE {
        return Err(Malformed("an attribute of a name is not a SEQUENCE"));
    }
    element.fields(|fields| {
        let id = fields.take(OBJECT_ID)?.content;
        let value = fields.next().ok_or(Malformed("an attribute of a name has no value"))?;
        Ok(match TYPES.iter().find(|(known, _)| *known == id) {
            Some((_, name)) => {
                let text = string(value).map_or_else(|| hex(value.whole), |text| escaped(&text));
                format!("{name}={text}")
            }
            None => format!("{}={}", dotted(id)?, hex(value.whole)),
        })
    })
}

/// Returns the text of a string; `None` for other values.
fn string(value: Element<'_>) -> Option<String> {
    match value.tag {
        // UTF8String, NumericString, PrintableString, IA5String, VisibleString.
        0x0c | 0x12 | 0x13 | 0x16 | 0x1a => String::from_utf8(value.content.to_vec()).ok(),
        // BMPString.
        0x1e if value.content.len().is_multiple_of(2) => {
            let units = value.content.chunks(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]]));
            char::decode_utf16(units).collect::<Result<String, _>>().ok()
        }
        _ => None,
    }
}

/// Escapes a string after RFC 4514.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let is_last = at + character.len_utf8() == text.len();
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', character]),
            '#' if at == 0 => out.push_str("\\#"),
            ' ' if at == 0 || is_last => out.push_str("\\ "),
            _ if character.is_control() => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            _ => out.push(character),
        }
    }
    out
}

/// Returns an object identifier with decimal arcs.
fn dotted(id: &[u8]) -> Result<String, Malformed> {
    const WRONG: Malformed = Malformed("an object identifier is not one, or has an arc from 2^63 on");
    let (mut arcs, mut arc) = (Vec::new(), None);
    for byte in id {
        let before: u64 = match arc {
            None if *byte == 0x80 => return Err(WRONG),
            None => 0,
            Some(before) if before >= 1 << 56 => return Err(WRONG),
            Some(before) => before,
        };
        let value = before << 7 | u64::from(byte & 0x7f);
        arc = if *byte < 0x80 {
            arcs.push(value);
            None
        } else {
            Some(value)
        };
    }
    let (first, rest) = arcs.split_first().filter(|_| arc.is_none()).ok_or(WRONG)?;
    let root = (first / 40).min(2);
    let mut text = format!("{root}.{}", first - 40 * root);
    for arc in rest {
        let _ = write!(text, ".{arc}");
    }
    Ok(text)
}

/// Returns bytes in hex, as RFC 4514 writes a value without text.
fn hex(bytes: &[u8]) -> String {
    format!("#{}", crate::stamp::hex(bytes))
}
