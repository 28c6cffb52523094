-- Days that were loaded again after lists that may be kept were made: those lists do not know what came late.
SELECT l.day FROM ops.loads l
JOIN ops.publications p ON p.state IN ('live', 'superseded') AND p.day > %(since)s AND p.day <= %(day)s AND l.day <= p.day AND l.finished_at >= p.started_at
WHERE l.kind = 'events' AND l.state = 'loaded'
LIMIT 1
