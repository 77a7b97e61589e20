-- Cosignatures of witnesses. line is the verified signature line, at its time, Unix seconds by the clock of the witness.
CREATE TABLE cosignatures (
    vkey text COLLATE "C" NOT NULL,
    size bigint NOT NULL,
    at   bigint NOT NULL,
    line text   NOT NULL,
    PRIMARY KEY (vkey, size)
);
CREATE INDEX cosignatures_size ON cosignatures (size);
