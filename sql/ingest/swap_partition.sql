SET LOCAL lock_timeout = '30s';
DROP TABLE IF EXISTS {partition};
ALTER TABLE {fresh} RENAME TO {name};
ALTER TABLE core.events ATTACH PARTITION {partition} FOR VALUES FROM (%(day)s::date) TO (%(day)s::date + 1)
