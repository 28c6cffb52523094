-- Days that were loaded before there were transforms.
SELECT day FROM ops.loads WHERE kind = 'events' AND state = 'loaded'
EXCEPT
SELECT event_day FROM core.item_daily
ORDER BY day
