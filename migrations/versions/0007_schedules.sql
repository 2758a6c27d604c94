ALTER TABLE send ADD COLUMN local_at TIMESTAMP WITHOUT TIME ZONE;
ALTER TABLE send ADD COLUMN local_grace INTERVAL;
ALTER TABLE send ADD CONSTRAINT send_local_time_has_grace
    CHECK ((local_at IS NULL) = (local_grace IS NULL));

-- Gatherers look at what is due now; what waits stands in an index of its own.
DROP INDEX outbox_ungrouped;
CREATE INDEX outbox_ungrouped ON outbox (priority, id) WHERE group_id IS NULL AND due_at IS NULL;
CREATE INDEX outbox_waiting ON outbox (due_at) WHERE group_id IS NULL AND due_at IS NOT NULL;
