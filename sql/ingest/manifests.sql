-- The files of each day's newest good load.
SELECT l.day, f.key, f.etag
FROM (SELECT DISTINCT ON (day) day, load_id FROM ops.loads WHERE kind = %(kind)s AND state = 'loaded' ORDER BY day, load_id DESC) l
LEFT JOIN ops.load_files f USING (load_id)
ORDER BY l.day, f.key
