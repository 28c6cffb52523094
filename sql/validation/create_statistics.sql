CREATE UNLOGGED TABLE {table} (LIKE ops.day_statistics)
