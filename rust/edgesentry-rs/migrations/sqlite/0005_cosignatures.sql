-- Cosignatures of witnesses. line is the verified signature line, at its time, Unix seconds by the clock of the witness.
CREATE TABLE cosignatures (
    vkey TEXT    NOT NULL,
    size INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    line TEXT    NOT NULL,
    PRIMARY KEY (vkey, size)
) WITHOUT ROWID;
CREATE INDEX cosignatures_size ON cosignatures (size);
