-- Time stamps of checkpoints: the answer of an authority, and the times in it.
CREATE TABLE timestamps (
    size      bigint NOT NULL,
    -- The URL of the authority.
    tsa       text COLLATE "C" NOT NULL,
    response  bytea  NOT NULL,
    authority text   NOT NULL,
    time_ms   bigint NOT NULL,
    before_ms bigint NOT NULL,
    -- When it was received.
    at_ms     bigint NOT NULL,
    PRIMARY KEY (size, tsa)
);
CREATE INDEX timestamps_last ON timestamps (tsa, size);
