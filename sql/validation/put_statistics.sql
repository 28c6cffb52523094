INSERT INTO {statistics} (kind, day, dimension, value, amount)
SELECT %(kind)s, * FROM unnest(%(days)s::date[], %(dimensions)s::text[], %(values)s::text[], %(amounts)s::double precision[])
