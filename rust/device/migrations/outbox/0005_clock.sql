-- The last time that the service gave, and the clock of the device at that moment; Unix milliseconds.
ALTER TABLE device ADD COLUMN service_time_ms INTEGER;
ALTER TABLE device ADD COLUMN service_time_at_ms INTEGER;
