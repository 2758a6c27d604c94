-- The traceparent (W3C) of the request: what a provider's call belongs to. Null while nobody traces.
ALTER TABLE send ADD COLUMN trace_parent TEXT;

-- Hardly any rows: a scrape counts them without reading the events.
CREATE INDEX delivery_event_duplicates ON delivery_event (occurred_on) WHERE kind = 'confirmed_duplicate';
