-- Buyers of each available product in the last 1, 7 and 28 days, in the whole shop and in each segment, in all and in each category.
INSERT INTO {partition} (publication_id, segment, days, category, item_ids, buyers)
WITH bought AS (
    SELECT DISTINCT e.user_id, e.item_id, e.event_day, e.context ->> %(field)s AS segment
    FROM core.events e
    WHERE e.event_day BETWEEN %(day)s::date - 27 AND %(day)s AND e.event_type = 'purchase'
),
counted AS (
    SELECT coalesce(b.segment, '') AS segment, w.days, b.item_id, count(DISTINCT b.user_id) AS buyers, grouping(b.segment) AS whole
    FROM bought b JOIN unnest(ARRAY[1, 7, 28]) AS w (days) ON b.event_day > %(day)s::date - w.days
    GROUP BY GROUPING SETS ((w.days, b.item_id), (b.segment, w.days, b.item_id))
),
ranked AS (
    SELECT c.segment, c.days, k.category, c.item_id, c.buyers,
           row_number() OVER (PARTITION BY c.segment, c.days, k.category ORDER BY c.buyers DESC, c.item_id) AS place
    FROM counted c
    JOIN {served} s ON s.item_id = c.item_id AND s.available
    CROSS JOIN LATERAL (VALUES (''), (s.category)) AS k (category)
    WHERE c.whole = 1 OR c.segment <> ''
)
SELECT %(publication_id)s, segment, days, category, array_agg(item_id ORDER BY place), array_agg(buyers::integer ORDER BY place)
FROM ranked WHERE place <= %(length)s
GROUP BY segment, days, category
