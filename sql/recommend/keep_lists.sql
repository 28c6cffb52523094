INSERT INTO {fresh} (publication_id, shard, user_id, item_ids, scores, reasons, because, model_version, context, scope, evidence, propensities)
SELECT %(publication_id)s, %(shard)s, user_id, item_ids, scores, reasons, because, model_version, context, scope, evidence, propensities
FROM {live} JOIN kept USING (user_id)
