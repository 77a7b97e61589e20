-- The key whose cosignatures the state is about. Evidence that proves nothing is not kept any more.
CREATE TABLE witness_key (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    vkey     TEXT    NOT NULL
);
DELETE FROM witness_evidence WHERE kind <> 'two_roots';
