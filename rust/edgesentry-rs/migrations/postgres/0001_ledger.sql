-- The audit ledger. Hashes, keys and signatures are raw bytes, times Unix milliseconds.
CREATE TABLE devices (
    device_id        text COLLATE "C" NOT NULL,
    valid_from       bigint NOT NULL,
    public_key       bytea  NOT NULL CHECK (length(public_key) = 32),
    scheme           text   NOT NULL CHECK (scheme IN ('payload-hash', 'record')),
    revoked_from     bigint,
    registered_at_ms bigint NOT NULL,
    PRIMARY KEY (device_id, valid_from)
);

-- One row a registered device, from sequence 0 on; it is locked while the chain is continued.
CREATE TABLE chain_heads (
    device_id      text COLLATE "C" PRIMARY KEY,
    sequence       bigint NOT NULL,
    record_hash    bytea  NOT NULL CHECK (length(record_hash) = 32),
    start_sequence bigint NOT NULL,
    start_hash     bytea  NOT NULL CHECK (length(start_hash) = 32),
    keys_version   bigint NOT NULL,
    moved_at_ms    bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE audit_records (
    device_id        text COLLATE "C" NOT NULL,
    sequence         bigint NOT NULL,
    timestamp_ms     bigint NOT NULL,
    payload_hash     bytea  NOT NULL CHECK (length(payload_hash) = 32),
    signature        bytea  NOT NULL CHECK (length(signature) = 64),
    prev_record_hash bytea  NOT NULL CHECK (length(prev_record_hash) = 32),
    object_ref       text   NOT NULL,
    record_hash      bytea  NOT NULL CHECK (length(record_hash) = 32),
    received_at_ms   bigint NOT NULL,
    PRIMARY KEY (device_id, sequence),
    UNIQUE (device_id, prev_record_hash)
);

-- One row a decision. evidence holds the canonical bytes of a rejected record.
CREATE TABLE operation_logs (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms       bigint NOT NULL,
    device_id   text   NOT NULL,
    sequence    bigint,
    outcome     text   NOT NULL CHECK (outcome IN ('accepted', 'duplicate', 'rejected')),
    reason      text,
    record_hash bytea  NOT NULL,
    expected    text,
    actual      text,
    evidence    bytea
);
CREATE INDEX operation_logs_by_device ON operation_logs (device_id, id);
