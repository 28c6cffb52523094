SELECT count(*) AS partitions, clock_timestamp() AS now FROM pg_inherits
WHERE inhrelid IN (SELECT to_regclass(name) FROM unnest(%(partitions)s) AS name)
