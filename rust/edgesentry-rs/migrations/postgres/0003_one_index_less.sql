-- That no two records of a device have the same previous hash follows from the primary key and from the check under the lock
-- on the head. Hashes have no order, so the index of this constraint was written all over: in a large ledger it was half of
-- the write-ahead log, and most of the time that its replay takes.
ALTER TABLE audit_records DROP CONSTRAINT IF EXISTS audit_records_device_id_prev_record_hash_key;
