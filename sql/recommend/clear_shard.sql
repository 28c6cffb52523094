DELETE FROM {partition} WHERE shard = %(shard)s
