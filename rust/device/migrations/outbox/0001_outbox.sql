-- The outbox of one device. The head is that of the last record signed, whether it is still here or not.
CREATE TABLE device (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    device_id   TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    record_hash BLOB    NOT NULL CHECK (length(record_hash) = 32)
);

CREATE TABLE waiting (
    sequence         INTEGER PRIMARY KEY,
    timestamp_ms     INTEGER NOT NULL,
    payload_hash     BLOB    NOT NULL CHECK (length(payload_hash) = 32),
    signature        BLOB    NOT NULL CHECK (length(signature) = 64),
    prev_record_hash BLOB    NOT NULL CHECK (length(prev_record_hash) = 32),
    object_ref       TEXT    NOT NULL,
    payload          BLOB    NOT NULL
);

-- Why the service did not take the first record that waits.
CREATE TABLE rejection (
    sequence INTEGER PRIMARY KEY,
    code     TEXT    NOT NULL,
    expected TEXT    NOT NULL,
    actual   TEXT    NOT NULL
);
