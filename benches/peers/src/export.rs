//! Reading an export and its keys, as a user of edgesentry-audit and serde_json would.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use edgesentry_audit::AuditRecord;

/// All records of an export, in file order.
pub fn read_records(path: &Path) -> Result<Vec<AuditRecord>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not an export of records", path.display()))
}

/// Public keys in hex, by device.
pub fn read_keys(path: &Path) -> Result<HashMap<String, String>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not a map of device to key", path.display()))
}
