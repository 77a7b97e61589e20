-- The transparency log: which leaf of the log each record, key and revocation is. Records get their position after their
-- transaction; ingest does not write here.
CREATE TABLE log_state (
    only_row     INTEGER PRIMARY KEY CHECK (only_row = 1),
    origin       TEXT    NOT NULL,
    next_index   INTEGER NOT NULL,
    -- The last batch; 0 before the first.
    batch        INTEGER NOT NULL,
    -- Grows with each leader. A writer of an earlier term writes no more.
    term         INTEGER NOT NULL,
    opened_at_ms INTEGER NOT NULL
);

-- size is that of the tree with the batch; root is known once it is integrated.
CREATE TABLE log_batches (
    batch       INTEGER PRIMARY KEY,
    first_index INTEGER NOT NULL,
    size        INTEGER NOT NULL UNIQUE,
    root        BLOB    CHECK (length(root) = 32),
    heads_root  BLOB    NOT NULL CHECK (length(heads_root) = 32),
    at_ms       INTEGER NOT NULL,
    state       TEXT    NOT NULL CHECK (state IN ('sequenced', 'integrated', 'signed'))
);
-- Those that are not signed yet.
CREATE INDEX log_batches_open ON log_batches (batch) WHERE state <> 'signed';

-- Records of a device, one behind the other. prev_hash is the hash of the record before, head_hash that of the last one.
CREATE TABLE log_runs (
    first_index    INTEGER PRIMARY KEY,
    device_id      TEXT    NOT NULL,
    first_sequence INTEGER NOT NULL,
    records        INTEGER NOT NULL,
    prev_hash      BLOB    NOT NULL CHECK (length(prev_hash) = 32),
    head_hash      BLOB    NOT NULL CHECK (length(head_hash) = 32),
    batch          INTEGER NOT NULL,
    UNIQUE (device_id, first_sequence)
);

-- All other leaves.
CREATE TABLE log_events (
    log_index INTEGER PRIMARY KEY,
    kind      INTEGER NOT NULL,
    leaf      BLOB    NOT NULL
);

-- Up to which record the log is, and where the chain begins.
CREATE TABLE log_heads (
    device_id      TEXT    PRIMARY KEY,
    sequence       INTEGER NOT NULL,
    record_hash    BLOB    NOT NULL CHECK (length(record_hash) = 32),
    start_sequence INTEGER NOT NULL,
    start_hash     BLOB    NOT NULL CHECK (length(start_hash) = 32)
) WITHOUT ROWID;

-- The keys as the log has them.
CREATE TABLE log_keys (
    device_id    TEXT    NOT NULL,
    valid_from   INTEGER NOT NULL,
    public_key   BLOB    NOT NULL CHECK (length(public_key) = 32),
    scheme       TEXT    NOT NULL CHECK (scheme IN ('payload-hash', 'record')),
    revoked_from INTEGER,
    PRIMARY KEY (device_id, valid_from)
) WITHOUT ROWID;

-- Signed checkpoints. lock_number is the number of the object that keeps the same note outside of the database.
CREATE TABLE checkpoints (
    size         INTEGER PRIMARY KEY,
    root         BLOB    NOT NULL CHECK (length(root) = 32),
    note         BLOB    NOT NULL,
    signed_at_ms INTEGER NOT NULL,
    lock_number  INTEGER NOT NULL UNIQUE
);
