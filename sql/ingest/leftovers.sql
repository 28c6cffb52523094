SELECT relname AS name FROM pg_class WHERE relnamespace = 'staging'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
