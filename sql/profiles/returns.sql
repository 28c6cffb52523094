-- DuckDB. How long users of each rhythm took to their next order, from four days that lie far enough back to know: the shop's own past
-- says what to expect, without a model of time. Rows with exact = false stand in for rhythms that fewer than 30 were seen with.
CREATE TABLE returns AS
WITH cuts AS (
    SELECT day - back AS cut FROM asked, (SELECT unnest([28, 35, 42, 49]) AS back) WHERE day - back >= (SELECT min(event_day) FROM orders) + 28
),
users AS (  -- a hundred thousand say enough
    SELECT DISTINCT user_id FROM orders WHERE hash(user_id) % greatest(1, (SELECT count(DISTINCT user_id) FROM orders) // 100000) = 0
),
seen AS (
    SELECT cut, user_id, rhythm((max(event_day) - min(event_day)) / nullif(count(*) - 1, 0), cut - max(event_day)) AS rhythm
    FROM cuts JOIN orders ON event_day <= cut JOIN users USING (user_id)
    GROUP BY cut, user_id
),
followed AS (
    SELECT cut, user_id, min(event_day) - cut AS days
    FROM cuts JOIN orders ON event_day > cut AND event_day <= cut + 28
    GROUP BY cut, user_id
),
classes AS (
    SELECT true AS exact, rhythm AS class, days FROM seen LEFT JOIN followed USING (cut, user_id)
    UNION ALL
    SELECT false, overdue(rhythm), days FROM seen LEFT JOIN followed USING (cut, user_id)
)
SELECT exact, class, count(*) AS users, quantile_disc(coalesce(days, 29), 0.1) AS soonest, quantile_disc(coalesce(days, 29), 0.9) AS latest,
       (count(*) FILTER (WHERE days IS NULL) + 1) / (count(*) + 2) AS lost
FROM classes
GROUP BY exact, class
HAVING count(*) >= 30
