-- DuckDB. The days in some fifty numbers each. Every event type and hour has a row, also one of 0, so that days can be compared.
WITH cells AS (
    SELECT e.event_day AS day, e.event_type, hour(e.event_time) AS hour, count(*) AS rows,
           count(e.session_id) AS session_id, count(e.position) AS position, count(e.price) AS price, count(e.quantity) AS quantity,
           sum(round(e.price * 1e6)::HUGEINT) / 1e6 AS prices, count(e.item_id) AS item_id, count(*) FILTER (WHERE i.item_id IS NULL AND e.item_id IS NOT NULL) AS unknown,
           count(r.user_id) AS by_robots, max(epoch(e.event_time - e.event_day::TIMESTAMPTZ)) AS newest
    FROM events e
    LEFT JOIN known_items i USING (item_id)
    LEFT JOIN bot_users r ON r.event_day = e.event_day AND r.user_id = e.user_id
    GROUP BY e.event_day, e.event_type, hour
), doubled AS (
    SELECT event_day AS day, sum(rows - 1) AS ids
    FROM (SELECT event_day, event_id, count(*) AS rows FROM events GROUP BY event_day, event_id HAVING count(*) > 1) AS twice
    GROUP BY event_day
), days AS (
    SELECT day, sum(rows) AS rows, sum(session_id) AS session_id, sum(item_id) AS item_id, sum(unknown) AS unknown, sum(by_robots) AS by_robots,
           max(newest) AS newest, sum(rows) FILTER (WHERE event_type = 'purchase') AS bought,
           sum(price) FILTER (WHERE event_type = 'purchase') AS price, sum(quantity) FILTER (WHERE event_type = 'purchase') AS quantity,
           sum(prices) FILTER (WHERE event_type = 'purchase') AS prices,
           sum(rows) FILTER (WHERE event_type IN ('click', 'impression')) AS shown, sum(position) FILTER (WHERE event_type IN ('click', 'impression')) AS position
    FROM cells
    GROUP BY day
)
SELECT d.day, 'event_type', t.name, coalesce(sum(c.rows), 0)
FROM days d CROSS JOIN (SELECT unnest($event_types) AS name) AS t LEFT JOIN cells c ON c.day = d.day AND c.event_type = t.name
GROUP BY d.day, t.name
UNION ALL
SELECT d.day, 'hour', lpad(h.hour::VARCHAR, 2, '0'), coalesce(sum(c.rows), 0)
FROM days d CROSS JOIN generate_series(0, 23) AS h(hour) LEFT JOIN cells c ON c.day = d.day AND c.hour = h.hour
GROUP BY d.day, h.hour
UNION ALL
SELECT d.day, n.dimension, n.value, n.amount
FROM days d LEFT JOIN doubled USING (day) CROSS JOIN LATERAL (VALUES
    ('day', 'rows', d.rows::DOUBLE), ('day', 'newest_second', d.newest::DOUBLE), ('day', 'doubled_ids', coalesce(doubled.ids, 0)),
    ('share', 'unknown_item', d.unknown / nullif(d.item_id, 0)), ('share', 'robots', d.by_robots / d.rows),
    ('empty', 'session_id', 1 - d.session_id / d.rows), ('empty', 'position of what was shown', 1 - d.position / d.shown),
    ('empty', 'price of what was bought', 1 - d.price / d.bought), ('empty', 'quantity of what was bought', 1 - d.quantity / d.bought),
    ('price', 'mean paid', d.prices / nullif(d.price, 0))) AS n (dimension, value, amount)
WHERE n.amount IS NOT NULL
