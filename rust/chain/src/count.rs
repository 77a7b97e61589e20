//! Counts in sentences.

/// `1 record`, `2 records`.
pub fn count(number: u64, noun: &str) -> String {
    format!("{number} {}", plural(number, noun))
}

/// The noun behind a number: `record` behind 1, `records` behind any other.
pub fn plural(number: u64, noun: &str) -> String {
    const IRREGULAR: [(&str, &str); 3] = [("leaf", "leaves"), ("entry", "entries"), ("batch", "batches")];
    let irregular = IRREGULAR.iter().find_map(|(one, many)| Some((noun.strip_suffix(one)?, many)));
    match (number, irregular) {
        (1, _) => noun.to_owned(),
        (_, Some((before, many))) => format!("{before}{many}"),
        (_, None) => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_singular() {
        assert_eq!([0, 1, 2].map(|number| count(number, "device")), ["0 devices", "1 device", "2 devices"]);
        assert_eq!([1, 2].map(|number| count(number, "log entry")), ["1 log entry", "2 log entries"]);
    }
}
