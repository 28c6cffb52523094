DELETE FROM core.user_daily WHERE event_day = ANY(%(days)s::date[]);
INSERT INTO core.user_daily (event_day, user_id, sessions, searches, impressions, clicks, carts, purchases, spend, first_at, last_at)
SELECT event_day, user_id, count(*), sum(searches), sum(impressions), sum(clicks), sum(carts), sum(purchases), sum(spend), min(started_at), max(ended_at)
FROM core.sessions
WHERE event_day = ANY(%(days)s::date[])
GROUP BY event_day, user_id
ORDER BY event_day, user_id
