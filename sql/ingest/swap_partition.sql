-- Readers see the old day until the commit, then the new one.
SET LOCAL lock_timeout = '3s';
ALTER TABLE {table} DETACH PARTITION {leaf};
DROP TABLE IF EXISTS {partition};
ALTER TABLE {leaf} RENAME TO {name};
ALTER TABLE {renamed} SET SCHEMA core;
ALTER TABLE core.events ATTACH PARTITION {partition} FOR VALUES FROM (%(day)s::date) TO (%(day)s::date + 1);
SET LOCAL lock_timeout = 0
