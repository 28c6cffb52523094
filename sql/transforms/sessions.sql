DELETE FROM core.sessions WHERE event_day = ANY(%(days)s::date[]);
INSERT INTO core.sessions (event_day, user_id, session_id, started_at, ended_at, events, searches, impressions, clicks, carts, purchases, spend, simulated)
SELECT event_day, user_id, session_id, started_at, max(event_time), count(*), count(*) FILTER (WHERE event_type = 'search'),
       count(*) FILTER (WHERE event_type = 'impression'), count(*) FILTER (WHERE event_type = 'click'), count(*) FILTER (WHERE event_type = 'cart'),
       count(*) FILTER (WHERE event_type = 'purchase'), sum(spend), bool_and(simulated)
FROM visits
GROUP BY event_day, user_id, session_id, started_at
ORDER BY event_day, user_id, started_at, session_id
