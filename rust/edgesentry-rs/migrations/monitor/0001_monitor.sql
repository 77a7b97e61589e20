CREATE TABLE monitor_log (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    origin TEXT NOT NULL,
    policy TEXT NOT NULL,
    -- The last checkpoint up to which every leaf was replayed, and when the log last showed it.
    verified BLOB,
    verified_at_ms INTEGER NOT NULL DEFAULT 0,
    -- The follower at the verified checkpoint, and behind it. The latter counts for nothing until a root holds.
    follower BLOB NOT NULL,
    replayed BLOB
) STRICT;

CREATE TABLE monitor_devices (
    device_id BLOB PRIMARY KEY,
    state BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE monitor_replayed (
    device_id BLOB PRIMARY KEY,
    state BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Checkpoints that the log has signed, and that the verified tree does not include or contradict yet.
CREATE TABLE monitor_seen (
    -- The verifier key of the witness that showed it; empty for the log.
    source TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note BLOB NOT NULL,
    first_ms INTEGER NOT NULL,
    -- The root at this size of the leaves that were replayed behind the verified checkpoint.
    replayed_root BLOB,
    PRIMARY KEY (source, size, root)
) STRICT, WITHOUT ROWID;

CREATE TABLE monitor_findings (
    id INTEGER PRIMARY KEY,
    class TEXT NOT NULL,
    code TEXT NOT NULL,
    -- Open findings of one subject are one finding. A further one of the same instance says nothing new.
    subject TEXT NOT NULL,
    instance TEXT NOT NULL,
    message TEXT NOT NULL,
    device_id TEXT,
    sequence INTEGER,
    leaf INTEGER,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    times INTEGER NOT NULL DEFAULT 1,
    acknowledged_ms INTEGER,
    -- 1 until the root of the leaves behind the finding holds.
    pending INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX monitor_findings_by_subject ON monitor_findings (subject, id);

-- The files of evidence. Those of one instance of a finding belong together, and have one number.
CREATE TABLE monitor_evidence (
    finding INTEGER NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    instance TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (finding, number, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE monitor_witnesses (
    -- Its verifier key.
    witness TEXT PRIMARY KEY,
    -- The largest checkpoint that it has shown.
    size INTEGER NOT NULL,
    -- 1 if a checkpoint of the log had its cosignature.
    has_cosigned INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
