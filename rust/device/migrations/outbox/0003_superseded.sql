-- Keys of the device that a succession has replaced: they sign no further record. sequence is that of the succession.
CREATE TABLE superseded (
    public_key BLOB    PRIMARY KEY CHECK (length(public_key) = 32),
    successor  BLOB    NOT NULL CHECK (length(successor) = 32),
    sequence   INTEGER NOT NULL
);
