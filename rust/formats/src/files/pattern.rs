//! Patterns of paths: `*`, `?`, `[abc]`, and `**` for any number of directories.

/// Maximum length of a pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 4096;

/// Returns true if a name is a pattern.
pub fn has_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}

/// A pattern of paths, part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Any number of directories.
    Folders,
    Name(Vec<Item>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    /// Any number of characters.
    Any,
    /// One character.
    One,
    Char(char),
    /// A range of characters each, or if the flag is set, any other character.
    Set(Vec<(char, char)>, bool),
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The message names the fault.
    pub fn new(text: &str) -> Result<Pattern, String> {
        if text.len() > MAX_PATTERN_BYTES {
            return Err(format!("a pattern of more than {MAX_PATTERN_BYTES} bytes"));
        }
        let part = |part: &str| match part {
            "**" => Ok(Part::Folders),
            part if part.contains("**") => Err("** stands alone between two slashes".to_owned()),
            part => items(part).map(Part::Name),
        };
        let parts = text.split('/').filter(|part| !part.is_empty() && *part != ".").map(part);
        Ok(Pattern { parts: parts.collect::<Result<_, _>>()? })
    }

    /// Returns the number of directories above a matching file; `None` for any number.
    pub(super) fn depth(&self) -> Option<usize> {
        (!self.parts.contains(&Part::Folders)).then(|| self.parts.len().saturating_sub(1))
    }

    /// Returns true if a path with `/` between its names matches.
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<Vec<char>> =
            path.split('/').filter(|name| !name.is_empty()).map(|name| name.chars().collect()).collect();
        wild(
            &self.parts,
            &names,
            |part| matches!(part, Part::Folders),
            |part, name| match part {
                Part::Folders => true,
                Part::Name(items) => {
                    wild(items, name, |item| matches!(item, Item::Any), |item, c| item.is(*c))
                }
            },
        )
    }
}

impl Item {
    fn is(&self, c: char) -> bool {
        match self {
            Item::Any | Item::One => true,
            Item::Char(own) => *own == c,
            Item::Set(ranges, is_negated) => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *is_negated
            }
        }
    }
}

fn items(part: &str) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut rest = part.chars().peekable();
    while let Some(c) = rest.next() {
        items.push(match c {
            '*' => Item::Any,
            '?' => Item::One,
            '[' => {
                let is_negated = rest.next_if(|c| matches!(c, '!' | '^')).is_some();
                let mut ranges = Vec::new();
                loop {
                    let open = || format!("the pattern {part:?} has a [ without its ]");
                    let first = rest.next().ok_or_else(open)?;
                    if first == ']' && !ranges.is_empty() {
                        break;
                    }
                    let mut ahead = rest.clone();
                    let last = match (ahead.next(), ahead.next()) {
                        (Some('-'), Some(last)) if last != ']' => {
                            rest = ahead;
                            last
                        }
                        _ => first,
                    };
                    ranges.push((first, last));
                }
                Item::Set(ranges, is_negated)
            }
            c => Item::Char(c),
        });
    }
    Ok(items)
}

/// Matches a sequence with wildcards for any number of items, in the product of both lengths at most: only the last
/// wildcard is tried again.
fn wild<P, T>(
    pattern: &[P],
    text: &[T],
    is_any: impl Fn(&P) -> bool,
    matches: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut again = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(item) if is_any(item) => {
                again = Some((at + 1, from));
                at += 1;
            }
            Some(item) if matches(item, &text[from]) => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((next, start)) = again else { return false };
                again = Some((next, start + 1));
                at = next;
                from = start + 1;
            }
        }
    }
    pattern[at.min(pattern.len())..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_names_and_directories() {
        for (pattern, path, expected) in [
            ("*.parquet", "a.parquet", true),
            ("*.parquet", "b/a.parquet", false),
            ("**/*.parquet", "a.parquet", true),
            ("**/*.parquet", "b/c/a.parquet", true),
            ("day=*/part-?.json", "day=1/part-3.json", true),
            ("day=*/part-?.json", "day=1/part-33.json", false),
            ("[a-c]x[!0-9]", "bxq", true),
            ("[a-c]x[!0-9]", "bx1", false),
            ("[]]", "]", true),
            ("*a*b*", "xxaybz", true),
            ("é?", "éü", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
        assert!(Pattern::new("a[b").is_err());
        assert!(Pattern::new("a**").is_err());
    }

    #[test]
    fn a_hostile_pattern_is_matched_in_polynomial_time() {
        let pattern = Pattern::new(&"*a".repeat(2000)).unwrap();
        assert!(!pattern.matches(&"a".repeat(1900)));
        let pattern = Pattern::new(&"**/a/".repeat(500)).unwrap();
        assert!(!pattern.matches(&"a/".repeat(499)));
    }
}
