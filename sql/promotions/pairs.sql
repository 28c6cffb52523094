-- DuckDB. Numbers of every user and asked promotion on the eve of as_of, and what came of it until `until`.
WITH days AS (
    SELECT DISTINCT as_of FROM asked
),
people AS (
    SELECT as_of, user_id, as_of - max(event_day) AS idle, count(DISTINCT event_day) AS orders, sum(paid) AS spend
    FROM days JOIN bought ON event_day < as_of AND event_day >= as_of - $history::INTEGER GROUP BY as_of, user_id
),
shown AS (
    SELECT as_of, user_id, count(*) AS contacts FROM days JOIN contacts ON event_day < as_of GROUP BY as_of, user_id
),
used AS (
    SELECT as_of, user_id, count(DISTINCT campaign) AS redeemed FROM days JOIN bought ON event_day < as_of WHERE campaign IS NOT NULL GROUP BY as_of, user_id
),
of_covered AS (
    SELECT number, user_id, sum(paid) FILTER (WHERE event_day < as_of) AS covered, count(*) FILTER (WHERE event_day < as_of) AS covered_times,
           as_of - max(event_day) FILTER (WHERE event_day < as_of) AS covered_idle, sum(paid) FILTER (WHERE event_day >= as_of) AS spent
    FROM asked JOIN covered USING (number) JOIN bought USING (item_id)
    WHERE event_day >= as_of - $history::INTEGER AND event_day <= until GROUP BY number, user_id, as_of
),
reached AS (
    SELECT DISTINCT number, user_id FROM asked JOIN contacts USING (campaign) WHERE event_day BETWEEN least(first, as_of) AND until
),
took AS (
    SELECT DISTINCT number, user_id FROM asked JOIN bought USING (campaign) WHERE event_day BETWEEN as_of AND until
),
sizes AS (
    SELECT number, count(*) AS products FROM covered GROUP BY number
)
SELECT p.user_id, a.number, p.idle, p.orders, p.spend, coalesce(s.contacts, 0) AS contacts, coalesce(u.redeemed, 0) AS redeemed,
       coalesce(c.covered, 0) AS covered, coalesce(c.covered_times, 0) AS covered_times, coalesce(c.covered_idle, 2 * $history) AS covered_idle,
       100 * coalesce(c.covered, 0) / greatest(p.spend, 0.01) AS covered_share, coalesce(z.products, 0) AS products, a.length,
       r.user_id IS NOT NULL AS contacted, t.user_id IS NOT NULL AS was_redeemed, coalesce(c.spent, 0) AS spent
FROM asked a JOIN people p USING (as_of)
LEFT JOIN shown s ON s.as_of = a.as_of AND s.user_id = p.user_id LEFT JOIN used u ON u.as_of = a.as_of AND u.user_id = p.user_id
LEFT JOIN of_covered c ON c.number = a.number AND c.user_id = p.user_id LEFT JOIN sizes z ON z.number = a.number
LEFT JOIN reached r ON r.number = a.number AND r.user_id = p.user_id LEFT JOIN took t ON t.number = a.number AND t.user_id = p.user_id
ORDER BY a.number, p.user_id
