-- The audit ledger. Numbers are signed 64-bit; hashes, keys and signatures are raw bytes.
CREATE TABLE devices (
    device_id        TEXT    NOT NULL,
    valid_from       INTEGER NOT NULL,
    public_key       BLOB    NOT NULL CHECK (length(public_key) = 32),
    scheme           TEXT    NOT NULL CHECK (scheme IN ('payload-hash', 'record')),
    revoked_from     INTEGER,
    registered_at_ms INTEGER NOT NULL,
    PRIMARY KEY (device_id, valid_from)
) WITHOUT ROWID;

-- One row a registered device, from sequence 0 on.
CREATE TABLE chain_heads (
    device_id      TEXT    PRIMARY KEY,
    sequence       INTEGER NOT NULL,
    record_hash    BLOB    NOT NULL CHECK (length(record_hash) = 32),
    start_sequence INTEGER NOT NULL,
    start_hash     BLOB    NOT NULL CHECK (length(start_hash) = 32),
    keys_version   INTEGER NOT NULL,
    moved_at_ms    INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE audit_records (
    device_id        TEXT    NOT NULL,
    sequence         INTEGER NOT NULL,
    timestamp_ms     INTEGER NOT NULL,
    payload_hash     BLOB    NOT NULL CHECK (length(payload_hash) = 32),
    signature        BLOB    NOT NULL CHECK (length(signature) = 64),
    prev_record_hash BLOB    NOT NULL CHECK (length(prev_record_hash) = 32),
    object_ref       TEXT    NOT NULL,
    record_hash      BLOB    NOT NULL CHECK (length(record_hash) = 32),
    received_at_ms   INTEGER NOT NULL,
    -- PostgreSQL also has UNIQUE (device_id, prev_record_hash). Under the head's lock it follows from this key and
    -- the check of the previous hash; here its index, written to all over, would take half of all writes.
    PRIMARY KEY (device_id, sequence)
) WITHOUT ROWID;

-- One row a decision. evidence holds the canonical bytes of a rejected record.
CREATE TABLE operation_logs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms       INTEGER NOT NULL,
    device_id   TEXT    NOT NULL,
    sequence    INTEGER,
    outcome     TEXT    NOT NULL CHECK (outcome IN ('accepted', 'duplicate', 'rejected')),
    reason      TEXT,
    record_hash BLOB    NOT NULL,
    expected    TEXT,
    actual      TEXT,
    evidence    BLOB
);
CREATE INDEX operation_logs_by_device ON operation_logs (device_id, id);

-- The embedded payload store.
CREATE TABLE payloads (
    object_ref   TEXT    PRIMARY KEY,
    payload      BLOB    NOT NULL,
    stored_at_ms INTEGER NOT NULL
);
