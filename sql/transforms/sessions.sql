-- DuckDB.
SELECT event_day, user_id, session_id, started_at, max(event_time) AS ended_at, count(*) AS events, count(*) FILTER (WHERE event_type = 'search') AS searches,
       count(*) FILTER (WHERE event_type = 'impression') AS impressions, count(*) FILTER (WHERE event_type = 'click') AS clicks,
       count(*) FILTER (WHERE event_type = 'cart') AS carts, count(*) FILTER (WHERE event_type = 'purchase') AS purchases,
       sum(spend) / 1e6 AS spend, bool_and(simulated) AS simulated
FROM visits
GROUP BY event_day, user_id, session_id, started_at
ORDER BY event_day, user_id, started_at, session_id
