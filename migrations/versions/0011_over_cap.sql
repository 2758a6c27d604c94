ALTER TABLE topic ADD COLUMN over_cap TEXT;
ALTER TABLE topic ADD CONSTRAINT topic_over_cap_is_known CHECK (over_cap IN ('defer', 'skip'));
