INSERT INTO {fresh} (publication_id, shard, user_id, scored_day, segment, others, bought, items, scores, embedding)
SELECT %(publication_id)s, %(shard)s, user_id, scored_day, segment, others, bought, items, scores, embedding
FROM {live} JOIN kept USING (user_id)
