-- The last cosigned checkpoint of each log. note has the lines of the log and the cosignature; at is its time, Unix seconds.
CREATE TABLE witness_logs (
    origin text COLLATE "C" PRIMARY KEY,
    size   bigint  NOT NULL,
    root   bytea   NOT NULL CHECK (length(root) = 32),
    note   bytea   NOT NULL,
    at     bigint  NOT NULL
);

-- Requests that contradict the last cosigned checkpoint. digest is BLAKE3 of the text of the checkpoint.
CREATE TABLE witness_evidence (
    origin  text COLLATE "C" NOT NULL,
    kind    text    NOT NULL CHECK (kind IN ('two_roots', 'not_shown')),
    digest  bytea   NOT NULL CHECK (length(digest) = 32),
    last    bytea   NOT NULL,
    request bytea   NOT NULL,
    at      bigint  NOT NULL,
    PRIMARY KEY (origin, kind, digest)
);
