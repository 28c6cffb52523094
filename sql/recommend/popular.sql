-- DuckDB. Buyers of each available product in the last 1, 7 and 28 days, in the whole shop and in each segment, in all and in each category.
WITH latest AS (
    SELECT "user", item, segment, min(age) AS age FROM bought WHERE age < 28 GROUP BY ALL
),
counted AS (
    SELECT '' AS segment, item, [count(*) FILTER (age < 1), count(*) FILTER (age < 7), count(*)] AS buyers
    FROM (SELECT "user", item, min(age) AS age FROM latest GROUP BY ALL) GROUP BY item
    UNION ALL
    SELECT segment, item, [count(*) FILTER (age < 1), count(*) FILTER (age < 7), count(*)] FROM latest WHERE segment <> '' GROUP BY segment, item
),
windows AS (
    SELECT segment, item, unnest([1, 7, 28]) AS days, unnest(buyers) AS buyers FROM counted
),
places AS (  -- where a product is listed: among all, and in its category
    SELECT item, item_id, '' AS category FROM available UNION ALL SELECT item, item_id, category FROM available WHERE category <> ''
),
ranked AS (
    SELECT segment, days, category, item_id, buyers, row_number() OVER (PARTITION BY segment, days, category ORDER BY buyers DESC, item_id) AS place
    FROM windows JOIN places USING (item) WHERE buyers > 0
)
SELECT ? AS publication_id, segment, days, category, '{' || string_agg(quoted(item_id), ',' ORDER BY place) || '}' AS item_ids,
       '{' || string_agg(buyers::VARCHAR, ',' ORDER BY place) || '}' AS buyers
FROM ranked WHERE place <= 100
GROUP BY segment, days, category
