//! Checks a Parquet footer and page headers before they are decoded. Both are structs in Thrift's compact protocol.
//!
//! The decoder allocates, loops and recurses as they declare, and neither a failed allocation nor a stack overflow can
//! be caught. Therefore no list may be longer than the metadata itself, nesting is limited, and each known field must
//! have its type, because the decoder reads it as this type without a check.

use super::guard::Problem;

/// Maximum number of schema elements: seven fields, each a list at worst.
const SCHEMA_ELEMENTS: usize = 256;
/// The format numbers row groups with 15 bits.
const ROW_GROUPS: usize = i16::MAX as usize;
/// Maximum nesting of structs and lists; the format needs eight.
const DEPTH: usize = 24;

/// Checks the footer in one pass.
pub(super) fn check_footer(footer: &[u8]) -> Result<(), Problem> {
    Walk::over(footer).fields(FOOTER, DEPTH)
}

/// The fields of a page header.
#[derive(Default)]
pub(super) struct PageHeader {
    pub(super) uncompressed: u64,
    pub(super) compressed: u64,
    /// 0 and 3 are data pages of version 1 and 2, 2 is a dictionary.
    pub(super) kind: u64,
    pub(super) values: u64,
    pub(super) encoding: u64,
    /// The encodings of definition and repetition levels (version 1).
    pub(super) level_encodings: [Option<u64>; 2],
    /// The size of definition and repetition levels, in bytes (version 2).
    pub(super) level_bytes: u64,
    /// True if the values are compressed (version 2).
    pub(super) is_compressed: bool,
}

/// Reads the page header at the start of `bytes`. Returns its length and its fields.
pub(super) fn page_header(bytes: &[u8]) -> Result<(usize, PageHeader), Problem> {
    let mut walk = Walk::over(bytes);
    walk.fields(PAGE_HEADER, DEPTH)?;
    let said = |which: Said| walk.said[which as usize];
    let (Some(uncompressed), Some(compressed)) = (said(Said::Uncompressed), said(Said::Compressed)) else {
        return Err(damaged("a page has no size"));
    };
    let header = PageHeader {
        uncompressed,
        compressed,
        kind: said(Said::Kind).unwrap_or_default(),
        values: said(Said::Values).unwrap_or_default(),
        encoding: said(Said::Encoding).unwrap_or_default(),
        level_encodings: [said(Said::DefinitionEncoding), said(Said::RepetitionEncoding)],
        level_bytes: said(Said::DefinitionBytes).unwrap_or_default()
            + said(Said::RepetitionBytes).unwrap_or_default(),
        is_compressed: said(Said::IsCompressed) != Some(0),
    };
    Ok((bytes.len() - walk.rest.len(), header))
}

/// The numbers read from a page header.
#[derive(Clone, Copy)]
enum Said {
    Kind,
    Uncompressed,
    Compressed,
    Values,
    Encoding,
    DefinitionEncoding,
    RepetitionEncoding,
    DefinitionBytes,
    RepetitionBytes,
    IsCompressed,
}

/// Number of variants of `Said`.
const SAID: usize = Said::IsCompressed as usize + 1;

/// The type of a field.
enum Type {
    Flag,
    Byte,
    I16,
    I32,
    I64,
    Double,
    Binary,
    Struct(Fields),
    List(&'static Type),
    /// A list with a maximum number of items, and the error for a longer one.
    Short(&'static Type, usize, fn(usize) -> Problem),
    /// A number of schema elements.
    Children,
    /// A number in a page header: not negative, and present once.
    Number(Said),
    /// A flag in a page header.
    Switch(Said),
    /// A field of encrypted columns only.
    Encrypted,
}

/// Fields by number. Unions are structs with one field.
type Fields = &'static [(i16, Type)];

use Type::{
    Binary, Byte, Children, Double, Encrypted, Flag, I16, I32, I64, List, Number, Short, Struct, Switch,
};

const EMPTY: Type = Struct(&[]);

const FOOTER: Fields = &[
    (1, I32),
    (2, Short(&Struct(SCHEMA_ELEMENT), SCHEMA_ELEMENTS, long_schema)),
    (3, I64),
    (4, Short(&Struct(ROW_GROUP), ROW_GROUPS, many_row_groups)),
    (5, List(&Struct(KEY_VALUE))),
    (6, Binary),
    (7, List(&Struct(&[(1, EMPTY), (2, EMPTY)]))),
    (9, Binary),
];

const SCHEMA_ELEMENT: Fields = &[
    (1, I32),
    (2, I32),
    (3, I32),
    (4, Binary),
    (5, Children),
    (6, I32),
    (7, I32),
    (8, I32),
    (9, I32),
    (10, Struct(LOGICAL_TYPE)),
];

const TIME: Fields = &[(1, Flag), (2, Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]))];

const LOGICAL_TYPE: Fields = &[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, I32), (2, I32)])),
    (6, EMPTY),
    (7, Struct(TIME)),
    (8, Struct(TIME)),
    (10, Struct(&[(1, Byte), (2, Flag)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, Byte)])),
    (17, Struct(&[(1, Binary)])),
    (18, Struct(&[(1, Binary), (2, I32)])),
];

const ROW_GROUP: Fields = &[
    (1, List(&Struct(COLUMN_CHUNK))),
    (2, I64),
    (3, I64),
    (4, List(&Struct(&[(1, I32), (2, Flag), (3, Flag)]))),
    (5, I64),
    (6, I64),
    (7, I16),
];

const COLUMN_CHUNK: Fields = &[
    (1, Binary),
    (2, I64),
    (3, Struct(COLUMN_METADATA)),
    (4, I64),
    (5, I32),
    (6, I64),
    (7, I32),
    (8, Encrypted),
    (9, Binary),
];

const COLUMN_METADATA: Fields = &[
    (1, I32),
    (2, List(&I32)),
    (3, List(&Binary)),
    (4, I32),
    (5, I64),
    (6, I64),
    (7, I64),
    (8, List(&Struct(KEY_VALUE))),
    (9, I64),
    (10, I64),
    (11, I64),
    (12, Struct(STATISTICS)),
    (13, List(&Struct(&[(1, I32), (2, I32), (3, I32)]))),
    (14, I64),
    (15, I32),
    (16, Struct(&[(1, I64), (2, List(&I64)), (3, List(&I64))])),
    (17, Struct(&[(1, Struct(BOUNDING_BOX)), (2, List(&I32))])),
];

const KEY_VALUE: Fields = &[(1, Binary), (2, Binary)];

const STATISTICS: Fields =
    &[(1, Binary), (2, Binary), (3, I64), (4, I64), (5, Binary), (6, Binary), (7, Flag), (8, Flag)];

const BOUNDING_BOX: Fields =
    &[(1, Double), (2, Double), (3, Double), (4, Double), (5, Double), (6, Double), (7, Double), (8, Double)];

const PAGE_HEADER: Fields = &[
    (1, Number(Said::Kind)),
    (2, Number(Said::Uncompressed)),
    (3, Number(Said::Compressed)),
    (4, I32),
    (
        5,
        Struct(&[
            (1, Number(Said::Values)),
            (2, Number(Said::Encoding)),
            (3, Number(Said::DefinitionEncoding)),
            (4, Number(Said::RepetitionEncoding)),
            (5, Struct(STATISTICS)),
        ]),
    ),
    (6, EMPTY),
    (7, Struct(&[(1, Number(Said::Values)), (2, Number(Said::Encoding)), (3, Flag)])),
    (
        8,
        Struct(&[
            (1, Number(Said::Values)),
            (2, I32),
            (3, I32),
            (4, Number(Said::Encoding)),
            (5, Number(Said::DefinitionBytes)),
            (6, Number(Said::RepetitionBytes)),
            (7, Switch(Said::IsCompressed)),
            (8, Struct(STATISTICS)),
        ]),
    ),
];

fn long_schema(size: usize) -> Problem {
    Problem::said(format!(
        "its schema has {size} elements, but an audit record has seven fields; select the seven columns"
    ))
}

fn many_row_groups(size: usize) -> Problem {
    Problem::said(format!(
        "the Parquet footer declares {size} row groups, more than the format allows; get an intact copy"
    ))
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const SHORT: u8 = 4;
const INT: u8 = 5;
const LONG: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

struct Walk<'a> {
    rest: &'a [u8],
    said: [Option<u64>; SAID],
}

impl Walk<'_> {
    fn over(bytes: &[u8]) -> Walk<'_> {
        Walk { rest: bytes, said: [None; SAID] }
    }

    /// Reads a struct with these fields, and perhaps others of a later format version.
    fn fields(&mut self, fields: Fields, depth: usize) -> Result<(), Problem> {
        let mut id = 0i16;
        loop {
            let header = self.byte()?;
            let kind = header & 0x0f;
            if kind == 0 {
                return Ok(());
            }
            id = match header >> 4 {
                0 => {
                    let zigzag = self.varint()?;
                    ((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)) as i16
                }
                delta => {
                    id.checked_add(i16::from(delta)).ok_or_else(|| damaged("a field number overflows"))?
                }
            };
            match fields.iter().find(|(known, _)| *known == id) {
                Some((_, field)) => self.typed(field, kind, depth)?,
                None => self.value(kind, depth)?,
            }
        }
    }

    /// Reads a value of a known type, if `kind` is this type.
    fn typed(&mut self, expected: &Type, kind: u8, depth: usize) -> Result<(), Problem> {
        match (expected, kind) {
            (Flag, TRUE | FALSE)
            | (Byte, BYTE)
            | (I16, SHORT)
            | (I32, INT)
            | (I64, LONG)
            | (Double, DOUBLE)
            | (Binary, BINARY) => self.value(kind, depth),
            (Struct(fields), STRUCT) => self.fields(fields, deeper(depth)?),
            (List(item), LIST) => {
                let (kind, size) = self.list_size()?;
                self.items(item, kind, size, depth)
            }
            (Short(item, most, problem), LIST) => match self.list_size()? {
                (_, size) if size > *most => Err(problem(size)),
                (kind, size) => self.items(item, kind, size, depth),
            },
            (Children, INT) => match self.varint()? >> 1 {
                children if children > SCHEMA_ELEMENTS as u64 => {
                    Err(damaged("a column has more children than the schema has elements"))
                }
                _ => Ok(()),
            },
            (Number(which), INT) => {
                let zigzag = self.varint()?;
                let negative = zigzag & 1 == 1;
                if negative || zigzag >> 1 > i32::MAX as u64 {
                    return Err(damaged("a page has no proper size"));
                }
                self.say(*which, zigzag >> 1)
            }
            (Switch(which), TRUE | FALSE) => self.say(*which, u64::from(kind == TRUE)),
            (Encrypted, _) => Err(Problem::said("its columns are encrypted; decrypt the file first")),
            _ => Err(damaged("a field of its metadata has the wrong type")),
        }
    }

    fn say(&mut self, which: Said, value: u64) -> Result<(), Problem> {
        match self.said[which as usize].replace(value) {
            None => Ok(()),
            Some(_) => Err(damaged("a page header has a field twice")),
        }
    }

    fn items(&mut self, item: &Type, kind: u8, size: usize, depth: usize) -> Result<(), Problem> {
        let depth = deeper(depth)?;
        (0..size).try_for_each(|_| self.typed(item, kind, depth))
    }

    /// Reads a value of an unknown field, which the decoder skips.
    fn value(&mut self, kind: u8, depth: usize) -> Result<(), Problem> {
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.skip(1),
            SHORT | INT | LONG => self.varint().map(drop),
            DOUBLE => self.skip(8),
            UUID => self.skip(16),
            BINARY => {
                let size = self.varint()?;
                self.skip(size)
            }
            LIST | SET => {
                let depth = deeper(depth)?;
                let (kind, size) = self.list_size()?;
                // The decoder reads no byte for a flag in a list, so a list of flags could have any length.
                if matches!(kind, TRUE | FALSE) {
                    return Err(damaged("its metadata has a list of flags, which the format does not use"));
                }
                (0..size).try_for_each(|_| self.value(kind, depth))
            }
            MAP => Err(damaged("its metadata has a map, which the format does not use")),
            STRUCT => self.fields(&[], deeper(depth)?),
            _ => Err(damaged("its metadata has a value of unknown type")),
        }
    }

    /// Reads the type and the number of items of a list; each item takes at least one byte.
    fn list_size(&mut self) -> Result<(u8, usize), Problem> {
        let header = self.byte()?;
        let size = match header >> 4 {
            15 => self.varint()?,
            size => u64::from(size),
        };
        if size > self.rest.len() as u64 {
            return Err(damaged("its metadata has a list longer than itself"));
        }
        Ok((header & 0x0f, size as usize))
    }

    fn varint(&mut self) -> Result<u64, Problem> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(damaged("its metadata has a number of more than 64 bits"))
    }

    fn byte(&mut self) -> Result<u8, Problem> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| damaged("its metadata ends too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn skip(&mut self, size: u64) -> Result<(), Problem> {
        let rest = usize::try_from(size).ok().and_then(|size| self.rest.get(size..));
        self.rest = rest.ok_or_else(|| damaged("its metadata ends too early"))?;
        Ok(())
    }
}

fn deeper(depth: usize) -> Result<usize, Problem> {
    depth.checked_sub(1).ok_or_else(|| damaged("its metadata is nested too deeply"))
}

fn damaged(detail: &str) -> Problem {
    Problem::decoder(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_longer_than_the_footer_and_deep_nesting_are_refused() {
        // Field 4, a list of 2^31 - 1 structs.
        assert!(check_footer(&[0x49, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07]).is_err());
        // Field 2, one element with 2^30 children.
        assert!(check_footer(&[0x29, 0x1c, 0x55, 0x80, 0x80, 0x80, 0x80, 0x08, 0, 0]).is_err());
        // Field 15, structs within structs.
        assert!(check_footer(&[&[0xfc][..], &[0x1c; 1_000_000]].concat()).is_err());
        // Field 15, lists within lists.
        assert!(check_footer(&[&[0xf9][..], &[0x19; 1_000_000]].concat()).is_err());
        // Field 1, a number without end.
        assert!(check_footer(&[&[0x15][..], &[0xff; 40]].concat()).is_err());
        assert!(check_footer(&[]).is_err());
        assert!(check_footer(&[0]).is_ok());
    }

    #[test]
    fn what_the_decoder_would_take_for_something_else_is_refused() {
        // Field 4, the row groups, as binary: the decoder reads the length of a list from it.
        assert!(check_footer(&[0x48, 0x06, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07, 0]).is_err());
        // Field 1, the version, as a list of two numbers.
        assert!(check_footer(&[0x19, 0x25, 1, 1, 0]).is_err());
        // Field 5, keys and values, as a list of texts.
        assert!(check_footer(&[0x59, 0x18, 1, b'x', 0]).is_err());
        // Field 15, flags, which take no byte in a list; and a list of two numbers, which is skipped.
        assert!(check_footer(&[0xf9, 0x21, 1, 1, 0]).is_err());
        assert!(check_footer(&[0xf9, 0x25, 1, 1, 0]).is_ok());
        // Field 7, the column orders, with one empty order.
        assert!(check_footer(&[0x79, 0x1c, 0x1c, 0, 0, 0]).is_ok());
        // A page header with its sizes; with one of them twice; with a negative one.
        assert!(page_header(&[0x15, 0, 0x15, 2, 0x15, 2, 0]).is_ok());
        assert!(page_header(&[0x15, 0, 0x15, 2, 0x15, 2, 0x05, 6, 2, 0]).is_err());
        assert!(page_header(&[0x15, 0, 0x15, 1, 0x15, 2, 0]).is_err());
    }
}
