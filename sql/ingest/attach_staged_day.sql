ALTER TABLE {table} ATTACH PARTITION {leaf} FOR VALUES FROM (%(day)s::date) TO (%(day)s::date + 1)
