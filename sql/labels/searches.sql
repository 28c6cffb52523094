-- All searches of people in these days, labelled or not: the share without a label is worth watching.
SELECT count(*) AS searches, count(*) FILTER (WHERE context ->> 'simulated' = 'true') AS simulated
FROM core.events e
WHERE event_day BETWEEN %(first)s AND %(last)s AND event_type = 'search'
  AND NOT EXISTS (SELECT FROM core.bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id);
