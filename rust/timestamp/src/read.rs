//! Reading DER by the rules of docs/reference/log.md, "Reading DER".

/// The reason why bytes are not what they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const OBJECT_ID: u8 = 0x06;
pub(crate) const UTC_TIME: u8 = 0x17;
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Returns the primitive context-specific tag of a number.
pub(crate) const fn implicit(number: u8) -> u8 {
    0x80 | number
}

/// Returns the constructed context-specific tag of a number.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// An element.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// Splits the first element off.
    fn split(bytes: &'a [u8]) -> Option<(Element<'a>, &'a [u8])> {
        let (&tag, rest) = bytes.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..0x80 => (usize::from(first), rest),
            _ => {
                let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let is_shortest = match digits {
                    [] | [0, ..] => false,
                    [digit] => *digit >= 0x80,
                    _ => digits.len() <= 4,
                };
                let length = digits.iter().fold(0_u64, |length, digit| length << 8 | u64::from(*digit));
                (usize::try_from(length).ok().filter(|_| is_shortest)?, rest)
            }
        };
        let (content, rest) = rest.split_at_checked(length)?;
        let whole = &bytes[..bytes.len() - rest.len()];
        (tag & 0x1f != 0x1f).then_some((Element { tag, content, whole }, rest))
    }

    /// Reads the elements in this one, all of them.
    pub(crate) fn fields<T>(
        self,
        read: impl FnOnce(&mut Fields<'a>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        fields(self.content, read)
    }
}

/// Reads the elements that bytes are, all of them.
pub(crate) fn fields<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Fields<'a>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut fields = Fields::of(bytes)?;
    let value = read(&mut fields)?;
    match fields.next() {
        None => Ok(value),
        Some(_) => Err(Malformed("an element of the DER has more fields than expected")),
    }
}

/// Elements, which are taken one after the other.
pub(crate) struct Fields<'a>(std::vec::IntoIter<Element<'a>>);

impl<'a> Iterator for Fields<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.0.next()
    }
}

impl<'a> Fields<'a> {
    pub(crate) fn of(mut bytes: &'a [u8]) -> Result<Fields<'a>, Malformed> {
        let mut elements = Vec::new();
        while !bytes.is_empty() {
            let split = Element::split(bytes);
            let (element, rest) = split.ok_or(Malformed(
                "the DER ends within an element, or has a length or a tag that is not accepted",
            ))?;
            elements.push(element);
            bytes = rest;
        }
        Ok(Fields(elements.into_iter()))
    }

    /// Returns whether the next element has this tag.
    pub(crate) fn has(&self, tag: u8) -> bool {
        self.0.as_slice().first().is_some_and(|element| element.tag == tag)
    }

    /// Takes the next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8) -> Result<Element<'a>, Malformed> {
        let element = self.next().filter(|element| element.tag == tag);
        element.ok_or(Malformed("an element of the DER lacks a field, or has another one in its place"))
    }

    /// Takes the next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.has(tag) { self.next() } else { None }
    }

    /// Reads the elements in the next one, which must have this tag.
    pub(crate) fn inside<T>(
        &mut self,
        tag: u8,
        read: impl FnOnce(&mut Fields<'a>) -> Result<T, Malformed>,
    ) -> Result<T, Malformed> {
        self.take(tag)?.fields(read)
    }

    /// Takes an integer in its shortest form, and returns its content.
    pub(crate) fn integer(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.take(tag)?.content {
            [] | [0, 0..0x80, ..] | [0xff, 0x80..=0xff, ..] => {
                Err(Malformed("an integer in the DER does not have its shortest form"))
            }
            content => Ok(content),
        }
    }

    /// Takes an integer that is not negative, and returns its bytes without zeros in front.
    pub(crate) fn unsigned(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.integer(tag)? {
            [0x80..=0xff, ..] => Err(Malformed("an integer in the DER is negative")),
            [0, rest @ ..] => Ok(rest),
            content => Ok(content),
        }
    }

    /// Takes an integer from 0 to a limit.
    pub(crate) fn small(&mut self, tag: u8, limit: u32) -> Result<u32, Malformed> {
        let bytes = self.unsigned(tag)?;
        let value = bytes.iter().take(5).fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        let value = u32::try_from(value).ok().filter(|value| *value <= limit);
        value.ok_or(Malformed("an integer in the DER is too large"))
    }

    /// Takes a boolean if the next element is one; else it is false.
    pub(crate) fn boolean(&mut self) -> Result<bool, Malformed> {
        match self.optional(BOOLEAN).map(|element| element.content) {
            None | Some([0]) => Ok(false),
            Some([0xff]) => Ok(true),
            Some(_) => Err(Malformed("a boolean in the DER is neither 00 nor FF")),
        }
    }

    /// Takes a bit string: the number of bits that are not used, and its bytes.
    pub(crate) fn bits(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        match self.take(BIT_STRING)?.content {
            [0, bytes @ ..] => Ok((0, bytes)),
            [unused @ 1..=7, bytes @ ..]
                if bytes.last().is_some_and(|last| last & ((1_u8 << unused) - 1) == 0) =>
            {
                Ok((*unused, bytes))
            }
            _ => Err(Malformed("a bit string in the DER has no bits, or bits that are not used")),
        }
    }

    /// Takes a bit string of whole bytes.
    pub(crate) fn whole_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        match self.bits()? {
            (0, bytes) => Ok(bytes),
            _ => Err(Malformed("a bit string in the DER does not have whole bytes")),
        }
    }

    /// Takes an algorithm.
    pub(crate) fn algorithm(&mut self) -> Result<Algorithm<'a>, Malformed> {
        self.inside(SEQUENCE, |fields| {
            Ok(Algorithm { id: fields.take(OBJECT_ID)?.content, parameters: fields.next() })
        })
    }
}

/// An algorithm and its parameters.
#[derive(Clone, Copy)]
pub(crate) struct Algorithm<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) parameters: Option<Element<'a>>,
}

impl Algorithm<'_> {
    /// Returns whether the parameters are absent or NULL.
    pub(crate) fn is_plain(&self) -> bool {
        self.parameters.is_none_or(|parameters| parameters.whole == [5, 0])
    }
}

/// Parses a time in UTC from 1970 on: Unix seconds, and the digits of the fraction.
pub(crate) fn time(element: Element<'_>) -> Result<(u64, &[u8]), Malformed> {
    const WRONG: Malformed = Malformed("a time is not in UTC from 1970 on, or not in the form of DER");
    let digits = match element.tag {
        UTC_TIME => 12,
        GENERALIZED_TIME => 14,
        _ => return Err(WRONG),
    };
    let text = element.content.strip_suffix(b"Z").ok_or(WRONG)?;
    let (whole, fraction) = text.split_at_checked(digits).ok_or(WRONG)?;
    let fraction = match fraction {
        [] => fraction,
        [b'.', fraction @ ..] if element.tag == GENERALIZED_TIME && fraction.last() > Some(&b'0') => fraction,
        _ => return Err(WRONG),
    };
    if !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return Err(WRONG);
    }
    let number = |part: &[u8]| part.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    let (year, rest) = whole.split_at(digits - 10);
    let year = match number(year) {
        year if digits == 14 => year,
        year @ 50.. => 1900 + year,
        year => 2000 + year,
    };
    let parts: Vec<u64> = rest.chunks(2).map(number).collect();
    match parts[..] {
        [month, day, hour @ 0..24, minute @ 0..60, second @ 0..60] => {
            let days = days(year, month, day).ok_or(WRONG)?;
            Ok((((days * 24 + hour) * 60 + minute) * 60 + second, fraction))
        }
        _ => Err(WRONG),
    }
}

/// Returns the days from 1970 on.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let before = year.checked_sub(1970)? * 365 + leap_days(year - 1) - leap_days(1969);
    let february = 28 + leap_days(year) - leap_days(year - 1);
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let month = usize::try_from(month).ok()?.checked_sub(1)?;
    let is_day = (1..=*lengths.get(month)?).contains(&day);
    is_day.then(|| before + lengths[..month].iter().sum::<u64>() + day - 1)
}
