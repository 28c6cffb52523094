INSERT INTO ops.rule_counts (publication_id, shard, rule, lists) SELECT %(publication_id)s, %(shard)s, rule, lists FROM unnest(%(rules)s::text[], %(lists)s::bigint[]) AS c (rule, lists)
