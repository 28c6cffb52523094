-- How long users of each rhythm took to their next order, from four days that lie far enough back to know: the shop's own past says what to
-- expect, without a model of time. Rows with exact = false stand in for rhythms that fewer than 30 were seen with.
CREATE TEMP TABLE returns ON COMMIT DROP AS
WITH cuts AS (
    SELECT %(day)s::date - back AS cut FROM unnest(ARRAY[28, 35, 42, 49]) AS back
    WHERE %(day)s::date - back >= (SELECT min(event_day) FROM orders) + 28
),
users AS (  -- a hundred thousand say enough
    SELECT user_id FROM (SELECT DISTINCT user_id FROM orders) AS everyone
    WHERE mod(hashtext(user_id)::bigint + 2147483648, greatest(1, (SELECT count(DISTINCT user_id) FROM orders) / 100000)) = 0
),
seen AS (
    SELECT cut, user_id, recs.rhythm((max(event_day) - min(event_day))::double precision / nullif(count(*) - 1, 0), cut - max(event_day)) AS rhythm
    FROM cuts JOIN orders ON event_day <= cut JOIN users USING (user_id)
    GROUP BY cut, user_id
),
followed AS (
    SELECT cut, user_id, min(event_day) - cut AS days
    FROM cuts JOIN orders ON event_day > cut AND event_day <= cut + 28
    GROUP BY cut, user_id
)
SELECT exact, class, count(*) AS users,
       percentile_disc(0.1) WITHIN GROUP (ORDER BY coalesce(days, 29)) AS soonest,
       percentile_disc(0.9) WITHIN GROUP (ORDER BY coalesce(days, 29)) AS latest,
       (count(*) FILTER (WHERE days IS NULL) + 1)::double precision / (count(*) + 2) AS lost
FROM seen LEFT JOIN followed USING (cut, user_id)
CROSS JOIN LATERAL (VALUES (true, rhythm), (false, recs.overdue(rhythm))) AS of (exact, class)
GROUP BY exact, class
HAVING count(*) >= 30
