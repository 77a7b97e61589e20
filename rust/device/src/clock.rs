//! The record about the clock of a device: docs/reference/clock.md.

use std::fmt::Write;

use serde::Deserialize;

/// The type of the payload, with its version.
const TYPE: &str = "edgesentry-clock/v1";

/// A time that a service gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceTime {
    /// The time, Unix milliseconds.
    pub service_ms: u64,
    /// The clock of the device when it received that time, Unix milliseconds.
    pub device_ms: u64,
}

/// The payload of a clock record: the knowledge of a device about time. It is a claim of the device, and no verdict depends
/// on it.
///
/// ```
/// use edgesentry_device::ClockRecord;
/// let mut record = ClockRecord::at(1_700_000_000_000);
/// record.boot_counter = Some(7);
/// let payload = record.payload();
/// assert_eq!(payload, r#"{"type":"edgesentry-clock/v1","timestamp_ms":1700000000000,"boot_counter":7}"#);
/// assert_eq!(ClockRecord::parse(payload.as_bytes()), Some(record));
/// ```
#[derive(Deserialize, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ClockRecord {
    /// The clock of the device, Unix milliseconds, as in the record.
    pub timestamp_ms: u64,
    /// The number of starts of the device.
    pub boot_counter: Option<u64>,
    /// Milliseconds since the start.
    pub uptime_ms: Option<u64>,
    /// The last time that the service gave, Unix milliseconds.
    pub service_time_ms: Option<u64>,
    /// How long before the record, by the clock of the device; absent if that clock went back since, and without
    /// `service_time_ms`.
    pub service_time_age_ms: Option<u64>,
}

impl ClockRecord {
    /// Returns a record that has only the clock of the device.
    pub fn at(timestamp_ms: u64) -> ClockRecord {
        ClockRecord {
            timestamp_ms,
            boot_counter: None,
            uptime_ms: None,
            service_time_ms: None,
            service_time_age_ms: None,
        }
    }

    /// Returns the record with a time of the service.
    #[must_use]
    pub fn with_service_time(mut self, time: ServiceTime) -> ClockRecord {
        self.service_time_ms = Some(time.service_ms);
        self.service_time_age_ms = self.timestamp_ms.checked_sub(time.device_ms);
        self
    }

    /// Returns the payload: one line of JSON.
    pub fn payload(&self) -> String {
        let mut text = format!(r#"{{"type":"{TYPE}","timestamp_ms":{}"#, self.timestamp_ms);
        let age = self.service_time_age_ms.filter(|_| self.service_time_ms.is_some());
        for (name, value) in [
            ("boot_counter", self.boot_counter),
            ("uptime_ms", self.uptime_ms),
            ("service_time_ms", self.service_time_ms),
            ("service_time_age_ms", age),
        ] {
            if let Some(value) = value {
                // Writing to a string does not fail.
                let _ = write!(text, r#","{name}":{value}"#);
            }
        }
        text.push('}');
        text
    }

    /// Reads a payload; `None` if it is another one. Each record has exactly one text.
    pub fn parse(payload: &[u8]) -> Option<ClockRecord> {
        let record: ClockRecord = serde_json::from_slice(payload).ok()?;
        (record.payload().as_bytes() == payload).then_some(record)
    }

    /// Returns the object reference of the clock record of a device.
    pub fn object_ref(device_id: &str, sequence: u64) -> String {
        format!("{device_id}/clock/{sequence}.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_exactly_one_text() {
        let whole = ClockRecord {
            boot_counter: Some(u64::MAX),
            uptime_ms: Some(0),
            ..ClockRecord::at(1000).with_service_time(ServiceTime { service_ms: 1500, device_ms: 900 })
        };
        let text = concat!(
            r#"{"type":"edgesentry-clock/v1","timestamp_ms":1000,"boot_counter":18446744073709551615,"uptime_ms":0,"#,
            r#""service_time_ms":1500,"service_time_age_ms":100}"#
        );
        assert_eq!((whole.payload().as_str(), ClockRecord::parse(text.as_bytes())), (text, Some(whole)));
        // The clock of the device went back since.
        let back = ClockRecord::at(1000).with_service_time(ServiceTime { service_ms: 1500, device_ms: 1001 });
        assert_eq!((back.service_time_ms, back.service_time_age_ms), (Some(1500), None));
        assert_eq!(ClockRecord::parse(back.payload().as_bytes()), Some(back));
        for other in [
            "",
            "{}",
            r#"{"timestamp_ms":1000}"#,
            r#"{"type":"edgesentry-clock/v2","timestamp_ms":1000}"#,
            r#"{"timestamp_ms":1000,"type":"edgesentry-clock/v1"}"#,
            r#"{"type":"edgesentry-clock/v1","timestamp_ms":1000} "#,
            r#"{"type":"edgesentry-clock/v1","timestamp_ms":-1}"#,
            r#"{"type":"edgesentry-clock/v1","timestamp_ms":1000,"boot_counter":null}"#,
            r#"{"type":"edgesentry-clock/v1","timestamp_ms":1000,"service_time_age_ms":1}"#,
            r#"{"type":"edgesentry-clock/v1","timestamp_ms":1000,"more":1}"#,
        ] {
            assert_eq!(ClockRecord::parse(other.as_bytes()), None, "{other}");
        }
    }
}
