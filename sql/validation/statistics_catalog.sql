-- A day without rows counts too: a snapshot that is empty must not pass for one that was not compared.
-- known_rows: what the catalogue held on the day before, for snapshots only: a delta is as long as it likes.
INSERT INTO {statistics} (kind, day, dimension, value, amount)
WITH days AS (
    SELECT asked.day, count(item_id) AS rows, count(DISTINCT item_id) AS items, count(*) FILTER (WHERE NOT deleted) AS live,
           count(*) FILTER (WHERE NOT in_stock AND NOT deleted) AS out_of_stock, count(price) FILTER (WHERE NOT deleted) AS price,
           count(brand) FILTER (WHERE NOT deleted) AS brand, percentile_cont(0.5) WITHIN GROUP (ORDER BY price) FILTER (WHERE NOT deleted) AS median,
           asked.day = ANY(%(whole)s::date[]) AS whole
    FROM unnest(%(days)s::date[]) AS asked (day) LEFT JOIN {table} ON loaded_day = asked.day
    GROUP BY asked.day
)
SELECT 'catalog', d.day, n.dimension, n.value, n.amount
FROM days d CROSS JOIN LATERAL (VALUES
    ('day', 'rows', d.rows::double precision), ('day', 'doubled_ids', d.rows - d.items), ('day', 'snapshot_rows', CASE WHEN d.whole THEN d.live END),
    ('day', 'known_rows', CASE WHEN d.whole THEN (SELECT count(*) FROM core.items_on(d.day - 1) WHERE NOT deleted) END),
    ('share', 'out_of_stock', d.out_of_stock::double precision / nullif(d.live, 0)),
    ('empty', 'price', 1 - d.price::double precision / nullif(d.live, 0)), ('empty', 'brand', 1 - d.brand::double precision / nullif(d.live, 0)),
    ('price', 'median', CASE WHEN d.whole THEN d.median END)) AS n (dimension, value, amount)
WHERE n.amount IS NOT NULL
