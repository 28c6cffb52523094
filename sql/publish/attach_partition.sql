ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES IN (%(publication_id)s)
