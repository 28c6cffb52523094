-- Users of a shard whose lists or candidates hold something that is gone, and users about whom the live publication says nothing. An item is
-- looked up among those gone by hash: comparing arrays would try every pair of them.
SELECT user_id FROM {candidates} WHERE shard = %(shard)s AND EXISTS (SELECT FROM unnest(items) AS item WHERE item = ANY (%(numbers)s::integer[]))
UNION
SELECT user_id FROM {lists} WHERE shard = %(shard)s AND EXISTS (SELECT FROM unnest(item_ids) AS item WHERE item = ANY (%(items)s::text[]))
