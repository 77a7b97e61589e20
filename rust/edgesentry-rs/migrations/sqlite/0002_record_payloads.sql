-- Payloads by the record that commits to them: no device can take a name of another's. What earlier releases stored stays
-- in the table payloads, under object references, and is found there.
CREATE TABLE record_payloads (
    device_id    TEXT    NOT NULL,
    sequence     INTEGER NOT NULL,
    payload_hash BLOB    NOT NULL CHECK (length(payload_hash) = 32),
    payload      BLOB    NOT NULL,
    stored_at_ms INTEGER NOT NULL,
    -- The sequence before the hash: what is written together is then together in the index.
    PRIMARY KEY (device_id, sequence, payload_hash)
);

-- Rejected records by reason, to count and to prune them.
CREATE INDEX operation_logs_rejected ON operation_logs (reason, id) WHERE outcome = 'rejected';

-- What was deleted of the operation log, by reason.
CREATE TABLE pruned_rejections (
    reason   TEXT    PRIMARY KEY,
    entries  INTEGER NOT NULL,
    up_to_id INTEGER NOT NULL,
    at_ms    INTEGER NOT NULL
) WITHOUT ROWID;
