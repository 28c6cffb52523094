SELECT event_day AS day, query, coalesce(context ->> 'simulated' = 'true', false) AS simulated
FROM analytics.events
WHERE user_id = %(user_id)s AND event_type = 'search'
ORDER BY event_time DESC, event_id
LIMIT %(rows)s
