SELECT count(*) AS partitions, clock_timestamp() AS now FROM pg_inherits
WHERE inhrelid IN (to_regclass(%(recommendations)s), to_regclass(%(profiles)s))
