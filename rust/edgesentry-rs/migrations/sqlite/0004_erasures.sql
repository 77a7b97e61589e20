-- Payloads to erase. The log gets a leaf for each; the payload is deleted after a checkpoint with this leaf.
CREATE TABLE erasures (
    device_id    TEXT    NOT NULL,
    sequence     INTEGER NOT NULL,
    payload_hash BLOB    NOT NULL CHECK (length(payload_hash) = 32),
    reason       TEXT    NOT NULL,
    at_ms        INTEGER NOT NULL,
    -- The leaf; NULL until it has a position.
    log_index    INTEGER,
    -- The most versions that the store had of it; NULL before the first look.
    versions     INTEGER,
    -- Why the store still has it, and when to try again.
    problem      TEXT,
    retry_at_ms  INTEGER,
    -- When the store had none of it any more.
    erased_at_ms INTEGER,
    PRIMARY KEY (device_id, sequence)
) WITHOUT ROWID;
-- Those that are not finished.
CREATE INDEX erasures_open ON erasures (device_id, sequence) WHERE erased_at_ms IS NULL;
