-- Records of refused updates. Those of records that have left the outbox are dropped at the next refusal.
CREATE TABLE refused_update (sequence INTEGER PRIMARY KEY);
-- The refusals that have no record of their own yet: the next one has their number.
CREATE TABLE refusals_left_out (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    refusals INTEGER NOT NULL CHECK (refusals >= 0)
);
INSERT INTO refusals_left_out VALUES (1, 0);
