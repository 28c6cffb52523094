DELETE FROM ops.rule_counts WHERE publication_id = %(publication_id)s AND shard = %(shard)s
