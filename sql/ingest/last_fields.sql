SELECT fields FROM ops.loads WHERE kind = %(kind)s AND state = 'loaded' AND fields IS NOT NULL ORDER BY load_id DESC LIMIT 1
