INSERT INTO ops.rule_counts SELECT %(publication_id)s, shard, rule, lists FROM ops.rule_counts WHERE publication_id = %(live)s AND shard = %(shard)s
