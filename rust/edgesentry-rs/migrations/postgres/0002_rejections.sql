-- Rejected records by reason, to count and to prune them.
CREATE INDEX operation_logs_rejected ON operation_logs (reason, id) WHERE outcome = 'rejected';

-- What was deleted of the operation log, by reason.
CREATE TABLE pruned_rejections (
    reason   text   PRIMARY KEY,
    entries  bigint NOT NULL,
    up_to_id bigint NOT NULL,
    at_ms    bigint NOT NULL
);
