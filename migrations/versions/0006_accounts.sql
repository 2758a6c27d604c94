ALTER TABLE provider_account ADD COLUMN operator_rate DOUBLE PRECISION;
ALTER TABLE provider_account ADD COLUMN weight_configured INTEGER DEFAULT '50' NOT NULL;
ALTER TABLE provider_account ADD COLUMN weight INTEGER DEFAULT '50' NOT NULL;
-- The first account of a channel took everything so far; the others stay its fallback.
UPDATE provider_account a SET weight = 0, weight_configured = 0 WHERE EXISTS (
    SELECT 1 FROM provider_account o WHERE o.team_id = a.team_id AND o.channel = a.channel
    AND o.is_real = a.is_real AND o.id < a.id);
ALTER TABLE provider_account ADD COLUMN weight_changed_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE provider_account ADD COLUMN weight_reason TEXT DEFAULT '' NOT NULL;
ALTER TABLE provider_account ADD COLUMN breaker_until TIMESTAMP WITH TIME ZONE;
ALTER TABLE provider_account ADD COLUMN breaker_wait DOUBLE PRECISION DEFAULT '0' NOT NULL;
ALTER TABLE provider_account ADD COLUMN breaker_changed_at TIMESTAMP WITH TIME ZONE;

-- Counted by process and second, never by message; old buckets go with the health task.
CREATE TABLE account_health (
    account_id BIGINT NOT NULL,
    bucket TIMESTAMP WITH TIME ZONE NOT NULL,
    answers INTEGER DEFAULT '0' NOT NULL,
    errors INTEGER DEFAULT '0' NOT NULL,
    slow INTEGER DEFAULT '0' NOT NULL,
    PRIMARY KEY (account_id, bucket)
);

-- Whose the messages of a group are: Temporal shares a queue out fairly among teams by it.
ALTER TABLE message_group ADD COLUMN team_id BIGINT DEFAULT '0' NOT NULL;
