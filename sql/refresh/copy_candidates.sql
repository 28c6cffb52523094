INSERT INTO {fresh} (publication_id, shard, user_id, scored_day, segment, others, bought, items, scores, embedding)
SELECT %(publication_id)s, shard, user_id, scored_day, segment, others, bought, items, scores, embedding
FROM {live} l WHERE shard = %(shard)s AND user_id <> ALL (%(users)s::text[])
