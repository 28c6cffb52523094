SELECT shard, min(user_id) AS first_user, NULL::text AS next_user FROM {candidates} GROUP BY shard ORDER BY shard
