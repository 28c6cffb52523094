SELECT kind, count(*) AS days, sum(rows_loaded)::bigint AS rows_loaded, sum(rows_rejected)::bigint AS rows_rejected
FROM analytics.loads
WHERE day BETWEEN %(first)s AND %(last)s AND state = 'loaded'
GROUP BY kind
ORDER BY kind
