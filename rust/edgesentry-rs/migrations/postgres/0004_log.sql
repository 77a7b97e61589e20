-- The transparency log: which leaf of the log each record, key and revocation is. Records get their position after their
-- transaction; ingest does not write here.
CREATE TABLE log_state (
    only_row     bigint PRIMARY KEY CHECK (only_row = 1),
    origin       text   NOT NULL,
    next_index   bigint NOT NULL,
    -- The last batch; 0 before the first.
    batch        bigint NOT NULL,
    -- Grows with each leader. A writer of an earlier term writes no more.
    term         bigint NOT NULL,
    opened_at_ms bigint NOT NULL
);

-- size is that of the tree with the batch; root is known once it is integrated.
CREATE TABLE log_batches (
    batch       bigint PRIMARY KEY,
    first_index bigint NOT NULL,
    size        bigint NOT NULL UNIQUE,
    root        bytea  CHECK (length(root) = 32),
    heads_root  bytea  NOT NULL CHECK (length(heads_root) = 32),
    at_ms       bigint NOT NULL,
    state       text   NOT NULL CHECK (state IN ('sequenced', 'integrated', 'signed'))
);
-- Those that are not signed yet.
CREATE INDEX log_batches_open ON log_batches (batch) WHERE state <> 'signed';

-- Records of a device, one behind the other. prev_hash is the hash of the record before, head_hash that of the last one.
CREATE TABLE log_runs (
    first_index    bigint PRIMARY KEY,
    device_id      text COLLATE "C" NOT NULL,
    first_sequence bigint NOT NULL,
    records        bigint NOT NULL,
    prev_hash      bytea  NOT NULL CHECK (length(prev_hash) = 32),
    head_hash      bytea  NOT NULL CHECK (length(head_hash) = 32),
    batch          bigint NOT NULL,
    UNIQUE (device_id, first_sequence)
);

-- All other leaves.
CREATE TABLE log_events (
    log_index bigint PRIMARY KEY,
    kind      bigint NOT NULL,
    leaf      bytea  NOT NULL
);

-- Up to which record the log is, and where the chain begins.
CREATE TABLE log_heads (
    device_id      text COLLATE "C" PRIMARY KEY,
    sequence       bigint NOT NULL,
    record_hash    bytea  NOT NULL CHECK (length(record_hash) = 32),
    start_sequence bigint NOT NULL,
    start_hash     bytea  NOT NULL CHECK (length(start_hash) = 32)
);

-- The keys as the log has them.
CREATE TABLE log_keys (
    device_id    text COLLATE "C" NOT NULL,
    valid_from   bigint NOT NULL,
    public_key   bytea  NOT NULL CHECK (length(public_key) = 32),
    scheme       text   NOT NULL CHECK (scheme IN ('payload-hash', 'record')),
    revoked_from bigint,
    PRIMARY KEY (device_id, valid_from)
);

-- Signed checkpoints. lock_number is the number of the object that keeps the same note outside of the database.
CREATE TABLE checkpoints (
    size         bigint PRIMARY KEY,
    root         bytea  NOT NULL CHECK (length(root) = 32),
    note         bytea  NOT NULL,
    signed_at_ms bigint NOT NULL,
    lock_number  bigint NOT NULL UNIQUE
);
