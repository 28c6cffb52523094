WITH answers AS (SELECT query, item_ids, scores FROM {query_results}),
entries AS (SELECT query, item_id FROM answers CROSS JOIN LATERAL unnest(item_ids) AS item_id)
SELECT
    (SELECT count(*) FROM {query_categories})                                                   AS query_categories,
    (SELECT count(*) FROM answers)                                                              AS query_results,
    (SELECT count(*) FROM {query_suggestions})                                                  AS query_suggestions,
    (SELECT count(*) FROM {related_queries})                                                    AS related_queries,
    (SELECT count(*) FROM answers WHERE cardinality(item_ids) = 0 OR cardinality(scores) <> cardinality(item_ids) OR 'NaN' = ANY (scores)) AS broken_results,
    (SELECT count(*) FROM entries e LEFT JOIN core.items i USING (item_id) WHERE i.item_id IS NULL OR i.deleted OR NOT i.in_stock) AS unavailable_results,
    (SELECT count(*) FROM {query_categories} WHERE NOT probability BETWEEN 0 AND 1 OR cardinality(categories) <> cardinality(probabilities)) AS broken_categories,
    (SELECT count(*) FROM {query_suggestions} s CROSS JOIN LATERAL unnest(s.queries) AS query
     JOIN ops.banned_terms b ON strpos(' ' || query || ' ', ' ' || core.normal_query(b.term) || ' ') > 0) AS banned_suggestions
