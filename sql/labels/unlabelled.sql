-- What people of these days searched, each spelling once, most searched first: with or without a label.
SELECT query
FROM core.events e
WHERE event_day BETWEEN %(first)s AND %(last)s AND event_type = 'search' AND query <> ''
  AND NOT EXISTS (SELECT FROM core.bot_users b WHERE b.event_day = e.event_day AND b.user_id = e.user_id)
GROUP BY query
ORDER BY count(*) DESC, query COLLATE "C"
LIMIT %(most)s
