-- DuckDB.
SELECT event_day, user_id, count(DISTINCT (session_id, started_at)) AS sessions, count(*) FILTER (WHERE event_type = 'search') AS searches,
       count(*) FILTER (WHERE event_type = 'impression') AS impressions, count(*) FILTER (WHERE event_type = 'click') AS clicks,
       count(*) FILTER (WHERE event_type = 'cart') AS carts, count(*) FILTER (WHERE event_type = 'purchase') AS purchases,
       sum(spend) / 1e6 AS spend, min(event_time) AS first_at, max(event_time) AS last_at
FROM visits
GROUP BY event_day, user_id
ORDER BY event_day, user_id
