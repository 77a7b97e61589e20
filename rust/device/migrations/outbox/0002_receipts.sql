-- Receipts: proofs that records are in the transparency log of the service. If they are required, an acknowledged
-- record stays in `waiting` until its receipt was verified. The service holds the records up to `held`.
CREATE TABLE receipts (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    required INTEGER NOT NULL,
    held     INTEGER NOT NULL
);

INSERT INTO receipts VALUES (1, 0, 0);

-- The service first acknowledged the records up to this sequence at this time of the device, Unix milliseconds.
CREATE TABLE acknowledged (
    sequence INTEGER PRIMARY KEY,
    at_ms    INTEGER NOT NULL
);

-- The last trusted checkpoint of each log.
CREATE TABLE checkpoint (
    origin TEXT PRIMARY KEY,
    note   TEXT NOT NULL
);

-- Trusted checkpoints that do not extend the one that was kept at that time.
CREATE TABLE conflict (
    id     INTEGER PRIMARY KEY,
    at_ms  INTEGER NOT NULL,
    kept   TEXT    NOT NULL,
    shown  TEXT    NOT NULL,
    reason TEXT    NOT NULL,
    UNIQUE (kept, shown)
);
