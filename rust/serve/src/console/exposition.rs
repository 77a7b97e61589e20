//! Values in the Prometheus text format: those of this process, and those of a metrics file.

use std::collections::HashMap;

/// The largest metrics file that is read, and the most series in it.
pub(super) const MAX_BYTES: u64 = 1 << 20;
const MAX_SERIES: usize = 10_000;

/// A series: the name, the value of its first label, and its value.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) label: String,
    pub(super) value: f64,
}

/// Parses a line; none for a comment or a line of another form.
fn parse(line: &str) -> Option<Series> {
    if line.starts_with('#') {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let label = labels.split_once("=\"").map(|(_, rest)| unescaped(rest)).unwrap_or_default();
    Some(Series { name: name.to_owned(), label, value })
}

/// Returns a label value up to its closing quote.
fn unescaped(text: &str) -> String {
    let mut value = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => match characters.next() {
                Some('n') => value.push('\n'),
                Some(other) => value.push(other),
                None => break,
            },
            other => value.push(other),
        }
    }
    value
}

/// Returns the series of a text.
pub(super) fn series(text: &str) -> Vec<Series> {
    text.lines().filter_map(parse).take(MAX_SERIES).collect()
}

/// The values of this process, by name and label.
pub(super) struct Values(HashMap<(String, String), f64>);

impl Values {
    pub(super) fn of(text: &str) -> Values {
        Values(series(text).into_iter().map(|series| ((series.name, series.label), series.value)).collect())
    }

    /// Returns the value of a series of EdgeSentry; 0 if there is none, as before its first event.
    pub(super) fn of_label(&self, name: &str, label: &str) -> f64 {
        let key = (format!("edgesentry_{name}"), label.to_owned());
        self.0.get(&key).copied().unwrap_or(0.0)
    }

    /// Returns a counter as a whole number.
    pub(super) fn count(&self, name: &str, label: &str) -> u64 {
        self.of_label(name, label).max(0.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read_as_they_are_written() {
        let text = "# HELP a b\na 1\nb{x=\"q\\\"\\\\\\n{} =\"} 2.5\nc{le=\"1\",y=\"2\"} 3\nnot a series\n";
        let read = series(text);
        let expected = [("a", "", 1.0), ("b", "q\"\\\n{} =", 2.5), ("c", "1", 3.0)];
        assert_eq!(read.len(), expected.len());
        for (series, (name, label, value)) in read.iter().zip(expected) {
            assert_eq!((series.name.as_str(), series.label.as_str(), series.value), (name, label, value));
        }
    }

    #[test]
    fn a_process_has_the_values_of_its_exposition() {
        let values = Values::of(&edgesentry_rs::telemetry::metrics::Metrics::new().text());
        assert_eq!(values.of_label("build_info", env!("CARGO_PKG_VERSION")), 1.0);
        assert_eq!(values.count("ingest_accepted_total", ""), 0);
    }
}
