//! Times: Unix milliseconds, as records and tables hold them, and RFC 3339, as people read them.

use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::well_known::{Rfc2822, Rfc3339};

/// Times in seconds from 2001 to 2286; read as milliseconds they are in early 1970.
const SECONDS: Range<u64> = 1_000_000_000..10_000_000_000;

/// Times in microseconds from 2001 to 2286; read as milliseconds they are after the year 33000.
const MICROSECONDS: Range<u64> = 1_000_000_000_000_000..10_000_000_000_000_000;

/// Returns the reason why a time may be in another unit than milliseconds, and the time in milliseconds then. A device
/// without a clock may mean the time as it is.
pub fn other_unit(unix_ms: u64) -> Option<(&'static str, u64)> {
    if SECONDS.contains(&unix_ms) {
        Some(("is a time in 1970; if it is in seconds", unix_ms * 1000))
    } else if MICROSECONDS.contains(&unix_ms) {
        Some(("is a time after the year 33000; if it is in microseconds", unix_ms / 1000))
    } else {
        None
    }
}

/// Unix milliseconds of the system clock; none if it is set before 1970.
pub fn clock_ms() -> Option<u64> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}

/// Unix milliseconds of the system clock; 0 if it is set before 1970.
pub fn now_ms() -> u64 {
    clock_ms().unwrap_or(0)
}

/// Reads RFC 3339, such as `2026-01-31T12:00:00Z`, or Unix milliseconds.
///
/// # Errors
/// The text is neither, or a time before 1970.
pub fn parse_unix_ms(text: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| "too large for Unix milliseconds".to_owned());
    }
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .map_err(|_| "neither a time such as 2026-01-31T12:00:00Z nor Unix milliseconds".to_owned())?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).map_err(|_| "a time before 1970".to_owned())
}

/// Reads the date of an HTTP header, such as `Sun, 06 Nov 1994 08:49:37 GMT`, as Unix milliseconds; none if it is another text
/// or before 1970.
pub fn parse_http_date(text: &str) -> Option<u64> {
    let time = OffsetDateTime::parse(text, &Rfc2822).ok()?;
    u64::try_from(time.unix_timestamp()).ok()?.checked_mul(1000)
}

/// Parses a length of time in seconds: a number with a unit, such as `90s`, `15m`, `24h` or `7d`.
///
/// # Errors
/// The unit is missing or unknown, or the number is not a natural number that fits.
pub fn parse_seconds(text: &str) -> Result<u64, String> {
    let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 24 * 3600)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit) = found
        .filter(|(number, _)| number.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or("expected a number with a unit, such as 90s, 15m, 24h or 7d")?;
    let number: Option<u64> = number.parse().ok();
    number.and_then(|number| number.checked_mul(unit)).ok_or_else(|| "too long a time".to_owned())
}

/// Unix milliseconds as RFC 3339 in UTC, with its milliseconds; the number itself if it is beyond the calendar.
pub fn to_rfc3339(unix_ms: u64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| unix_ms.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offset() {
        assert_eq!(parse_unix_ms("1970-01-01T00:00:00+00:00"), Ok(0));
        assert_eq!(parse_unix_ms("2022-03-20T11:00:00+01:00"), Ok(1_647_770_400_000));
        assert_eq!(parse_unix_ms("2024-02-29T23:59:59.25-02:30"), Ok(1_709_260_199_250));
        assert_eq!(parse_unix_ms("1647770400000"), Ok(1_647_770_400_000));
        for bad in
            ["", "2022-03-20", "-1", "99999999999999999999", "1969-12-31T23:59:59Z", "2022-02-30T00:00:00Z"]
        {
            assert!(parse_unix_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn dates_of_headers_are_read() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777_000));
        assert_eq!(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for bad in [
            "",
            "now",
            "1994-11-06T08:49:37Z",
            "Wed, 31 Dec 1969 23:59:59 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
        ] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        for (text, expected) in [("0s", 0), ("90s", 90), ("15m", 900), ("24h", 86_400), ("7d", 604_800)] {
            assert_eq!(parse_seconds(text), Ok(expected));
        }
        for bad in ["", "s", "5", "-1s", "1.5h", "+1s", "1w", "99999999999999999999d"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_written_in_utc() {
        assert_eq!(to_rfc3339(1_647_770_400_250), "2022-03-20T10:00:00.25Z");
        assert_eq!(to_rfc3339(u64::MAX), u64::MAX.to_string());
    }
}
