//! Writes a record as a JSON object: the seven fields in order, byte fields as arrays of integers.

use edgesentry_chain::{AuditRecord, escape};

/// Each byte as decimal digits and a comma, with the length.
const DIGITS: [([u8; 4], usize); 256] = {
    let mut table = [([b','; 4], 0); 256];
    let mut value = 0;
    while value < 256 {
        let (text, length) = &mut table[value];
        let mut at = 0;
        if value >= 100 {
            text[at] = b'0' + (value / 100) as u8;
            at += 1;
        }
        if value >= 10 {
            text[at] = b'0' + (value / 10 % 10) as u8;
            at += 1;
        }
        text[at] = b'0' + (value % 10) as u8;
        *length = at + 2;
        value += 1;
    }
    table
};

/// Appends a record as one line of JSON for [`crate::record_from_json`], without the end of the line.
pub fn record_to_json(record: &AuditRecord, out: &mut Vec<u8>) {
    write_record(out, record);
}

pub(super) fn write_record(out: &mut Vec<u8>, record: &AuditRecord) {
    out.extend_from_slice(b"{\"device_id\":");
    write_text(out, &record.device_id);
    out.extend_from_slice(b",\"sequence\":");
    write_integer(out, record.sequence);
    out.extend_from_slice(b",\"timestamp_ms\":");
    write_integer(out, record.timestamp_ms);
    out.extend_from_slice(b",\"payload_hash\":");
    write_bytes(out, &record.payload_hash.0);
    out.extend_from_slice(b",\"signature\":");
    write_bytes(out, &record.signature);
    out.extend_from_slice(b",\"prev_record_hash\":");
    write_bytes(out, &record.prev_record_hash.0);
    out.extend_from_slice(b",\"object_ref\":");
    write_text(out, &record.object_ref);
    out.push(b'}');
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // Escape more characters than JSON requires, so that displayed text cannot mislead a reader of logs.
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if is_plain {
        serde_json::to_writer(out, text).expect("a string is written to memory");
    } else {
        let text = serde_json::Value::from(text).to_string();
        out.extend_from_slice(escape::json(&text).as_bytes());
    }
}

fn write_integer(out: &mut Vec<u8>, value: u64) {
    serde_json::to_writer(out, &value).expect("a number is written to memory");
}

fn write_bytes<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N]) {
    let start = out.len();
    out.resize(start + 1 + 4 * N, b'[');
    let mut end = start + 1;
    for byte in bytes {
        // Copying four bytes is faster than copying fewer; the next write overwrites the excess.
        let (text, length) = &DIGITS[usize::from(*byte)];
        out[end..end + 4].copy_from_slice(text);
        end += length;
    }
    // Replaces the last comma.
    out[end - 1] = b']';
    out.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_in_decimal() {
        let bytes: [u8; 256] = std::array::from_fn(|byte| byte as u8);
        let mut out = Vec::new();
        write_bytes(&mut out, &bytes);
        assert_eq!(out, serde_json::to_vec(&bytes[..]).unwrap());
    }
}
