-- Days from `first` on (all, where it is NULL) that were loaded before there were transforms.
SELECT day FROM ops.loads WHERE kind = 'events' AND state = 'loaded' AND (%(first)s::date IS NULL OR day >= %(first)s)
EXCEPT
SELECT event_day FROM core.item_daily
ORDER BY day
