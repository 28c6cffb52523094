-- A finished run that is cleared and run again makes a new publication; the old one keeps its rows under another key.
UPDATE ops.publications SET run_key = run_key || '#' || publication_id
WHERE run_key = %(run_key)s AND state IN ('live', 'superseded', 'withdrawn')
