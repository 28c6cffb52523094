-- Users of a shard whose lists or candidates hold something that is gone, and users about whom the live publication says nothing.
SELECT user_id FROM {candidates} WHERE shard = %(shard)s AND items && %(numbers)s::integer[]
UNION
SELECT user_id FROM {lists} WHERE shard = %(shard)s AND item_ids && %(items)s::text[]
ORDER BY user_id
