SELECT event_day AS day, count(*) AS rows FROM core.events WHERE event_day BETWEEN %(first)s AND %(last)s GROUP BY event_day ORDER BY event_day
