-- The days of one load, as one table for the checks. Its partitions become those of core.events, so no row is written twice.
CREATE TABLE {table} (LIKE core.events) PARTITION BY RANGE (event_day)
