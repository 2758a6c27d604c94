-- The answers to the members of a group's attempt, by position: {"0": {"id", "code", "detail"}}.
ALTER TABLE attempt ADD COLUMN answers JSONB;

ALTER TABLE delivery_event ADD COLUMN account_id BIGINT;
ALTER TABLE delivery_event ADD COLUMN provider_message_id TEXT;
CREATE INDEX delivery_event_of_message ON delivery_event (send_id, ordinal);
-- What trip wires count: few, or the send is held.
CREATE INDEX delivery_event_trouble ON delivery_event (send_id, kind, at) WHERE kind IN ('hard_bounced', 'complained');

CREATE TABLE event_inbox (
    account_id BIGINT NOT NULL,
    provider_event_id TEXT NOT NULL,
    occurred_on DATE NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    received_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    send_id BIGINT NOT NULL,
    ordinal INTEGER NOT NULL,
    step SMALLINT NOT NULL,
    part SMALLINT NOT NULL,
    kind TEXT NOT NULL,
    provider_message_id TEXT DEFAULT '' NOT NULL,
    raw JSONB NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    folded_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (account_id, provider_event_id, occurred_on)
)
 PARTITION BY RANGE (occurred_on);
CREATE INDEX event_inbox_due ON event_inbox (due_at) WHERE folded_at IS NULL;

-- As before, with event_inbox.
CREATE OR REPLACE FUNCTION ensure_partitions(first_day date, months integer) RETURNS integer LANGUAGE plpgsql
AS $$
DECLARE
    parent text; bounds text; name text; since timestamptz; until timestamptz; made integer := 0;
BEGIN
    FOR month IN 0 .. months - 1 LOOP
        since := (date_trunc('month', first_day::timestamp) + month * interval '1 month') AT TIME ZONE 'UTC';
        until := ((since AT TIME ZONE 'UTC') + interval '1 month') AT TIME ZONE 'UTC';
        FOREACH parent IN ARRAY ARRAY['message', 'delivery', 'batch', 'attempt', 'delivery_event', 'cap_use', 'event_inbox'] LOOP
            name := parent || to_char(since AT TIME ZONE 'UTC', '_YYYY_MM');
            CONTINUE WHEN to_regclass(name) IS NOT NULL;
            bounds := CASE
                WHEN parent IN ('delivery_event', 'event_inbox') THEN format('FROM (%L) TO (%L)', (since AT TIME ZONE 'UTC')::date, (until AT TIME ZONE 'UTC')::date)
                ELSE format('FROM (%s) TO (%s)', key_at(since), key_at(until)) END;
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES %s', name, parent, bounds);
            IF parent IN ('delivery', 'batch', 'attempt') THEN
                EXECUTE format('ALTER TABLE %I SET (fillfactor = 70)', name);
            END IF;
            made := made + 1;
        END LOOP;
    END LOOP;
    RETURN made;
END $$;

-- From the first month that has messages on; and the month before this one, for what vendors tell late.
SELECT ensure_partitions(first_day, months)
FROM (SELECT min(day) AS first_day,
             1 + (12 * extract(year FROM age(max(day), min(day))) + extract(month FROM age(max(day), min(day))))::integer AS months
      FROM (SELECT to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM') AS day
            FROM pg_inherits WHERE inhparent = 'message'::regclass) AS partitions) AS made;
SELECT ensure_partitions((date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month')::date, 1);
