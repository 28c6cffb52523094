-- DuckDB. The events without those of bots, each with the start of its session; what every transform below reads.
-- A session is cut where nothing happened for 30 minutes, also inside a session_id: many shops' ids live as long as a cookie.
-- Money and units are counted in whole millionths: their sums are the same in whatever order they are added.
SELECT event_day, event_id, event_time, user_id, session_id, event_type, item_id, query, position, spend, units, simulated,
       max(event_time) FILTER (WHERE starts) OVER (
           PARTITION BY event_day, user_id, session_id ORDER BY event_time, event_type <> 'search', event_id) AS started_at
FROM (
    SELECT event_day, event_id, event_time, user_id, coalesce(session_id, '') AS session_id, event_type, item_id, query, position,
           CASE WHEN event_type = 'purchase' THEN round(coalesce(price, 0) * coalesce(quantity, 1) * 1e6)::HUGEINT ELSE 0 END AS spend,
           CASE WHEN event_type = 'purchase' THEN round(coalesce(quantity, 1) * 1e6)::HUGEINT ELSE 0 END AS units,
           simulated,
           coalesce(event_time - lag(event_time) OVER (
               PARTITION BY event_day, user_id, coalesce(session_id, '') ORDER BY event_time, event_type <> 'search', event_id)
               > INTERVAL '30 minutes', true) AS starts
    FROM part e
    WHERE NOT EXISTS (SELECT 1 FROM bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id)) AS cut
