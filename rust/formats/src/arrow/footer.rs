//! A look at a Parquet footer before it is decoded: no list longer than the footer itself, no nesting.
//!
//! The decoder allocates and recurses as the footer says, and neither an allocation that fails nor a stack that
//! overflows can be caught. The footer is one struct in Thrift's compact protocol.

use super::guard::Problem;

/// Elements of the schema, at most: seven fields, each a list at worst.
const SCHEMA_ELEMENTS: usize = 256;
/// The format numbers row groups with 15 bits.
const ROW_GROUPS: usize = i16::MAX as usize;
/// Structs and lists within each other, at most; the format needs eight.
const DEPTH: usize = 24;

/// Fields of the footer and of a schema element, by their numbers in the format.
const FOOTER_SCHEMA: i16 = 2;
const FOOTER_ROW_GROUPS: i16 = 4;
const ELEMENT_CHILDREN: i16 = 5;

/// Walks over the footer once.
pub(super) fn check_footer(footer: &[u8]) -> Result<(), Problem> {
    let mut walk = Walk { rest: footer };
    walk.fields(|walk, id, kind| match (id, kind) {
        (FOOTER_SCHEMA, LIST) => walk.schema(),
        (FOOTER_ROW_GROUPS, LIST) => {
            let (kind, size) = walk.list()?;
            if size > ROW_GROUPS {
                return Err(Problem::said(format!(
                    "the Parquet footer declares {size} row groups, more than the format allows; get an intact \
                     copy"
                )));
            }
            walk.items(kind, size, DEPTH)
        }
        _ => walk.value(kind, DEPTH),
    })
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;
const UUID: u8 = 13;

struct Walk<'a> {
    rest: &'a [u8],
}

impl Walk<'_> {
    fn schema(&mut self) -> Result<(), Problem> {
        let (kind, size) = self.list()?;
        if size > SCHEMA_ELEMENTS {
            return Err(Problem::said(format!(
                "its schema has {size} elements, but an audit record has seven fields; select the seven columns"
            )));
        }
        if kind != STRUCT && size > 0 {
            return Err(damaged("the schema is no list of structs"));
        }
        for _ in 0..size {
            self.fields(|walk, id, kind| match (id, kind) {
                (ELEMENT_CHILDREN, I32) => {
                    let children = walk.varint()? >> 1;
                    if children > SCHEMA_ELEMENTS as u64 {
                        return Err(damaged("a column has more children than the schema has elements"));
                    }
                    Ok(())
                }
                _ => walk.value(kind, DEPTH),
            })?;
        }
        Ok(())
    }

    /// Calls `each` with number and type of every field of a struct.
    fn fields(
        &mut self,
        mut each: impl FnMut(&mut Self, i16, u8) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut id = 0i16;
        loop {
            let header = self.byte()?;
            if header & 0x0f == 0 {
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
            each(self, id, header & 0x0f)?;
        }
    }

    fn value(&mut self, kind: u8, depth: usize) -> Result<(), Problem> {
        if depth == 0 {
            return Err(damaged("its metadata is nested too deeply"));
        }
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.skip(1),
            I16 | I32 | I64 => self.varint().map(drop),
            DOUBLE => self.skip(8),
            UUID => self.skip(16),
            BINARY => {
                let size = self.varint()?;
                self.skip(size)
            }
            LIST | SET => {
                let (kind, size) = self.list()?;
                self.items(kind, size, depth - 1)
            }
            MAP => Err(damaged("its metadata has a map, which the format does not use")),
            STRUCT => self.fields(|walk, _, kind| walk.value(kind, depth - 1)),
            _ => Err(damaged("its metadata has a value of unknown type")),
        }
    }

    fn items(&mut self, kind: u8, size: usize, depth: usize) -> Result<(), Problem> {
        match kind {
            // A flag is a byte here, unlike in a field.
            TRUE | FALSE => self.skip(size as u64),
            _ => (0..size).try_for_each(|_| self.value(kind, depth)),
        }
    }

    /// Type and number of the items of a list; each takes at least a byte.
    fn list(&mut self) -> Result<(u8, usize), Problem> {
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
        // Field 9, structs within structs.
        assert!(check_footer(&[&[0x9c][..], &[0x1c; 1_000_000]].concat()).is_err());
        // Field 9, lists within lists.
        assert!(check_footer(&[&[0x99][..], &[0x19; 1_000_000]].concat()).is_err());
        // An endless number.
        assert!(check_footer(&[&[0x16][..], &[0xff; 40]].concat()).is_err());
        assert!(check_footer(&[]).is_err());
        assert!(check_footer(&[0]).is_ok());
    }
}
