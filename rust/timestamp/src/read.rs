//! Reading DER with the rules of this crate: members of a SET in any order, optional fields by their tags.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, Error, ErrorKind, Reader, SliceReader, Tag, TagNumber, Tagged};

/// Returns the constructed context-specific tag of a number.
pub(crate) const fn context(number: u32) -> Tag {
    Tag::ContextSpecific { constructed: true, number: TagNumber(number) }
}

/// Reads an element of a tag.
pub(crate) fn expect<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<AnyRef<'a>, Error> {
    let element = AnyRef::decode(reader)?;
    element.tag().assert_eq(tag)?;
    Ok(element)
}

/// Returns an element that must be a SEQUENCE.
pub(crate) fn sequence(element: AnyRef<'_>) -> Result<AnyRef<'_>, Error> {
    element.tag().assert_eq(Tag::Sequence)?;
    Ok(element)
}

/// Reads an element if the next one has this tag.
pub(crate) fn optional<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<Option<AnyRef<'a>>, Error> {
    if reader.is_finished() || Tag::peek(reader)? != tag {
        return Ok(None);
    }
    AnyRef::decode(reader).map(Some)
}

/// Reads an object identifier.
pub(crate) fn oid(reader: &mut SliceReader<'_>) -> Result<ObjectIdentifier, Error> {
    ObjectIdentifier::decode(reader)
}

/// Reads the fields of a constructed element, all of them.
pub(crate) fn fields<'a, T>(
    element: AnyRef<'a>,
    read: impl FnOnce(&mut SliceReader<'a>) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut reader = SliceReader::new(element.value())?;
    let value = read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

/// Returns the members of a SEQUENCE OF or SET OF in their order, at most `limit`.
pub(crate) fn members<'a>(element: AnyRef<'a>, limit: usize) -> Result<Vec<AnyRef<'a>>, Error> {
    fields(element, |reader| {
        let mut members = Vec::new();
        while !reader.is_finished() {
            if members.len() == limit {
                return Err(ErrorKind::Overlength.into());
            }
            members.push(AnyRef::decode(reader)?);
        }
        Ok(members)
    })
}

/// Returns the one member of a SET.
pub(crate) fn only<'a>(set: AnyRef<'a>) -> Result<AnyRef<'a>, Error> {
    match members(set, 1)?.as_slice() {
        [member] => Ok(*member),
        _ => Err(Tag::Set.length_error().into()),
    }
}

/// An algorithm and its parameters.
#[derive(Clone, Copy)]
pub(crate) struct Algorithm<'a> {
    pub(crate) oid: ObjectIdentifier,
    parameters: Option<AnyRef<'a>>,
}

impl<'a> Algorithm<'a> {
    pub(crate) fn read(reader: &mut SliceReader<'a>) -> Result<Algorithm<'a>, Error> {
        fields(expect(reader, Tag::Sequence)?, |reader| {
            let oid = oid(reader)?;
            let parameters = if reader.is_finished() { None } else { Some(AnyRef::decode(reader)?) };
            Ok(Algorithm { oid, parameters })
        })
    }

    pub(crate) fn has_no_parameters(&self) -> bool {
        self.parameters.is_none()
    }

    /// Returns whether the parameters are absent or NULL.
    pub(crate) fn is_plain(&self) -> bool {
        self.parameters
            .is_none_or(|parameters| parameters.tag() == Tag::Null && parameters.value().is_empty())
    }
}
