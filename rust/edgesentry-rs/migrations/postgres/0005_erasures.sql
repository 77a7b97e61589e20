-- Payloads to erase. The log gets a leaf for each; the payload is deleted after a checkpoint with this leaf.
CREATE TABLE erasures (
    device_id    text COLLATE "C" NOT NULL,
    sequence     bigint NOT NULL,
    payload_hash bytea  NOT NULL CHECK (length(payload_hash) = 32),
    reason       text   NOT NULL,
    at_ms        bigint NOT NULL,
    -- The leaf; NULL until it has a position.
    log_index    bigint,
    -- The most versions that the store had of it; NULL before the first look.
    versions     bigint,
    -- Why the store still has it, and when to try again.
    problem      text,
    retry_at_ms  bigint,
    -- When the store had none of it any more.
    erased_at_ms bigint,
    PRIMARY KEY (device_id, sequence)
);
-- Those that are not finished.
CREATE INDEX erasures_open ON erasures (device_id, sequence) WHERE erased_at_ms IS NULL;
