-- Time stamps of checkpoints: the answer of an authority, and the times in it.
CREATE TABLE timestamps (
    size      INTEGER NOT NULL,
    -- The URL of the authority.
    tsa       TEXT    NOT NULL,
    response  BLOB    NOT NULL,
    authority TEXT    NOT NULL,
    time_ms   INTEGER NOT NULL,
    before_ms INTEGER NOT NULL,
    -- When it was received.
    at_ms     INTEGER NOT NULL,
    PRIMARY KEY (size, tsa)
) WITHOUT ROWID;
CREATE INDEX timestamps_last ON timestamps (tsa, size);
