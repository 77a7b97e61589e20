-- Why the keys of a device were revoked; those revocations that this release has made.
CREATE TABLE revocations (
    device_id    text COLLATE "C" NOT NULL,
    revoked_from bigint NOT NULL,
    reason       text   NOT NULL,
    at_ms        bigint NOT NULL,
    PRIMARY KEY (device_id, revoked_from)
);
