-- Loaded catalogue days after this one, and whether they brought a snapshot.
SELECT l.day, coalesce(bool_or(f.key ~ '/snapshot[^/]*$'), false) AS whole
FROM (SELECT DISTINCT ON (day) day, load_id FROM ops.loads WHERE kind = 'catalog' AND state = 'loaded' AND day > %(day)s ORDER BY day, load_id DESC) l
LEFT JOIN ops.load_files f USING (load_id)
GROUP BY l.day ORDER BY l.day
