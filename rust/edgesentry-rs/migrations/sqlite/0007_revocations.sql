-- Why the keys of a device were revoked; those revocations that this release has made.
CREATE TABLE revocations (
    device_id    TEXT    NOT NULL,
    revoked_from INTEGER NOT NULL,
    reason       TEXT    NOT NULL,
    at_ms        INTEGER NOT NULL,
    PRIMARY KEY (device_id, revoked_from)
) WITHOUT ROWID;
