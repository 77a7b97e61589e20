CREATE TABLE monitor_log (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    origin TEXT NOT NULL,
    policy TEXT NOT NULL,
    -- The last checkpoint up to which every leaf was replayed, and when.
    verified BLOB,
    verified_at_ms INTEGER NOT NULL DEFAULT 0,
    -- The last checkpoint whose replay began.
    seen BLOB,
    -- The follower at the verified checkpoint, and behind it. The latter counts for nothing until a root holds.
    follower BLOB NOT NULL,
    replayed BLOB,
    -- Findings that were not kept, because there were too many.
    dropped INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE monitor_devices (
    device_id BLOB PRIMARY KEY,
    state BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE monitor_replayed (
    device_id BLOB PRIMARY KEY,
    state BLOB NOT NULL
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

CREATE TABLE monitor_evidence (
    finding INTEGER NOT NULL,
    name TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (finding, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE monitor_witnesses (
    name TEXT PRIMARY KEY,
    -- Since when its checkpoint is larger than that of the log; 0 if it is not.
    ahead_since_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
