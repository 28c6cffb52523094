-- Whether the searches in core.events really happened.
SELECT count(*) AS searches, count(*) FILTER (WHERE context ->> 'simulated' = 'true') AS simulated
FROM analytics.events
WHERE event_type = 'search'
