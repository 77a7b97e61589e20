-- The last cosigned checkpoint of each log. note has the lines of the log and the cosignature; at is its time, Unix seconds.
CREATE TABLE witness_logs (
    origin TEXT    PRIMARY KEY,
    size   INTEGER NOT NULL,
    root   BLOB    NOT NULL CHECK (length(root) = 32),
    note   BLOB    NOT NULL,
    at     INTEGER NOT NULL
) WITHOUT ROWID;

-- Requests that contradict the last cosigned checkpoint. digest is BLAKE3 of the text of the checkpoint.
CREATE TABLE witness_evidence (
    origin  TEXT    NOT NULL,
    kind    TEXT    NOT NULL CHECK (kind IN ('two_roots', 'not_shown')),
    digest  BLOB    NOT NULL CHECK (length(digest) = 32),
    last    BLOB    NOT NULL,
    request BLOB    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (origin, kind, digest)
) WITHOUT ROWID;
