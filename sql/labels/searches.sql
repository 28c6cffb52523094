-- All searches of the days, labelled or not: the share without a label is worth watching.
SELECT count(*) AS searches, count(*) FILTER (WHERE context ->> 'simulated' = 'true') AS simulated
FROM core.events
WHERE event_day BETWEEN %(first)s AND %(last)s AND event_type = 'search';
