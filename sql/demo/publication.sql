SELECT publication_id, day, model_version, users, items FROM ops.publications
WHERE day = %(day)s AND state IN ('live', 'superseded')
ORDER BY publication_id DESC
LIMIT 1
