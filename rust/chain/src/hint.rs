//! Likely causes of many findings at once, derived from the records (docs/reference/spec.md, step 7).

use std::fmt;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::key::Scheme;
use crate::level::Level;

/// A likely cause of many findings at once, with its fix. A hint explains findings; it never removes one.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(remote = "Hint")]
#[non_exhaustive]
pub enum Hint {
    /// The chains of some devices are complete and their links hold, but their records are in another order.
    NotInOrder {
        /// The number of devices.
        devices: u64,
        /// The first device by name.
        device_id: Arc<str>,
        /// True if the records came from several inputs.
        many_inputs: bool,
    },
    /// Signatures hold under a scheme for which their key is not registered.
    OtherScheme {
        /// The scheme under which they hold.
        scheme: Scheme,
        /// The number of signatures.
        signatures: u64,
        /// The number of devices.
        devices: u64,
        /// The first device by name.
        device_id: Arc<str>,
    },
    /// Erasures are listed for missing payloads, by the ledger, the layout of a log or a bundle, without a trusted
    /// checkpoint.
    ErasureUnproven {
        /// The number of missing payloads, among the kept findings.
        payloads: u64,
    },
    /// Most devices of the trusted heads have no record, or several have none and those with records have adjacent ids,
    /// as in one part of a larger export.
    PartOfExport {
        /// Devices of the trusted heads without a record.
        missing: u64,
        /// Devices with records.
        present: u64,
    },
}

impl Hint {
    /// Returns the stable name, such as `not_in_order`.
    pub fn code(&self) -> &'static str {
        match self {
            Hint::NotInOrder { .. } => "not_in_order",
            Hint::OtherScheme { .. } => "other_scheme",
            Hint::ErasureUnproven { .. } => "erasure_unproven",
            Hint::PartOfExport { .. } => "part_of_export",
        }
    }

    /// Returns the level whose findings it explains.
    pub fn level(&self) -> Level {
        match self {
            Hint::NotInOrder { .. } => Level::Links,
            Hint::OtherScheme { .. } => Level::Signatures,
            Hint::ErasureUnproven { .. } => Level::Payloads,
            Hint::PartOfExport { .. } => Level::Heads,
        }
    }

    /// Returns the hint as reports show it: `Likely cause: ` and its sentence.
    pub fn likely_cause(&self) -> String {
        format!("Likely cause: {self}")
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hint::NotInOrder { devices, device_id, many_inputs } => {
                let (whose, its) = owner(*devices, device_id);
                write!(
                    f,
                    "the records of {whose} are complete and linked, but do not come in the order of {its} \
                     sequence: "
                )?;
                if *many_inputs {
                    f.write_str(
                        "give the inputs in the order of their records (part-2 before part-10), or ",
                    )?;
                }
                f.write_str("sort the records by device_id and sequence")
            }
            Hint::OtherScheme { scheme, signatures, devices, device_id } => {
                let (whose, _) = owner(*devices, device_id);
                let hold = if *signatures == 1 { "signature holds" } else { "signatures hold" };
                write!(
                    f,
                    "{signatures} invalid {hold} under scheme {scheme}, of {whose}: {}",
                    scheme.advice()
                )
            }
            Hint::ErasureUnproven { payloads } => {
                let (was, them) = if *payloads == 1 { ("was", "it") } else { ("were", "them") };
                write!(
                    f,
                    "{payloads} of the missing payloads {was} erased, as the side under test lists {them}: verify with \
                     your policy (--policy) and, unless this is a bundle, a checkpoint of the log (--checkpoint), which \
                     decide whether the log has the erasures"
                )
            }
            Hint::PartOfExport { missing, present } => {
                let trusted = missing + present;
                let have = if *missing == 1 { "has" } else { "have" };
                write!(
                    f,
                    "{missing} of the {trusted} devices of the trusted heads {have} no record here: if this is one \
                     part of an export, verify all parts as one input, or each part with the heads of its devices"
                )
            }
        }
    }
}

/// Returns `device "a"` or `3 devices, the first of which is "a"`, and the pronoun for it.
fn owner(devices: u64, device_id: &str) -> (String, &'static str) {
    match devices {
        1 => (format!("device {device_id:?}"), "its"),
        devices => (format!("{devices} devices (the first is {device_id:?})"), "their"),
    }
}

impl<'de> serde::Deserialize<'de> for Hint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Hint, D::Error> {
        Hint::deserialize(deserializer)
    }
}

impl Serialize for Hint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return Hint::serialize(self, serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", self.code())?;
        match self {
            Hint::NotInOrder { devices, device_id, .. } => {
                map.serialize_entry("devices", devices)?;
                map.serialize_entry("device_id", device_id)?;
            }
            Hint::OtherScheme { scheme, signatures, devices, device_id } => {
                map.serialize_entry("scheme", scheme)?;
                map.serialize_entry("signatures", signatures)?;
                map.serialize_entry("devices", devices)?;
                map.serialize_entry("device_id", device_id)?;
            }
            Hint::ErasureUnproven { payloads } => map.serialize_entry("payloads", payloads)?,
            Hint::PartOfExport { missing, present } => {
                map.serialize_entry("missing", missing)?;
                map.serialize_entry("present", present)?;
            }
        }
        map.serialize_entry("message", &self.to_string())?;
        map.end()
    }
}

/// The devices that a hint applies to, and the number of cases.
#[derive(Default)]
pub(crate) struct Among<'a> {
    pub(crate) devices: u64,
    pub(crate) cases: u64,
    first: Option<&'a Arc<str>>,
}

impl<'a> Among<'a> {
    pub(crate) fn add(&mut self, device_id: &'a Arc<str>, cases: u64) {
        if cases > 0 {
            self.devices += 1;
            self.cases = self.cases.saturating_add(cases);
            self.first = self.first.into_iter().chain([device_id]).min();
        }
    }

    /// Returns the first device by name, if there is one.
    pub(crate) fn first(&self) -> Option<Arc<str>> {
        self.first.cloned()
    }
}
