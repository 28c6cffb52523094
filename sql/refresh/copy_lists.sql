INSERT INTO {fresh} (publication_id, shard, user_id, item_ids, scores, reasons, because, model_version, context, scope, evidence, propensities)
SELECT %(publication_id)s, shard, user_id, item_ids, scores, reasons, because, model_version, context, scope, evidence, propensities
FROM {live} l WHERE shard = %(shard)s AND user_id <> ALL (%(users)s::text[])
