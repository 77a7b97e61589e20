-- The last accepted update whose record was signed, until the update state has it and the caller knows. It completes
-- an acceptance after an interruption, and a repetition of the acceptance finds its record here.
CREATE TABLE accepted_update (
    only_row         INTEGER PRIMARY KEY CHECK (only_row = 1),
    -- BLAKE3 of the manifest without its signatures.
    manifest_hash    BLOB    NOT NULL CHECK (length(manifest_hash) = 32),
    -- Both slots of the update state after the acceptance.
    state            BLOB    NOT NULL CHECK (length(state) = 1024),
    sequence         INTEGER NOT NULL,
    timestamp_ms     INTEGER NOT NULL,
    payload_hash     BLOB    NOT NULL CHECK (length(payload_hash) = 32),
    signature        BLOB    NOT NULL CHECK (length(signature) = 64),
    prev_record_hash BLOB    NOT NULL CHECK (length(prev_record_hash) = 32),
    object_ref       TEXT    NOT NULL
);
