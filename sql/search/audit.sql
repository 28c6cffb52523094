WITH answers AS (SELECT query, item_ids, scores FROM {query_results}),
entries AS (SELECT query, item_id FROM answers CROSS JOIN LATERAL unnest(item_ids) AS item_id)
SELECT
    (SELECT count(*) FROM {query_categories})                                                   AS query_categories,
    (SELECT count(*) FROM answers)                                                              AS query_results,
    (SELECT count(*) FROM {query_suggestions})                                                  AS query_suggestions,
    (SELECT count(*) FROM {related_queries})                                                    AS related_queries,
    (SELECT count(*) FROM answers WHERE cardinality(item_ids) = 0 OR cardinality(scores) <> cardinality(item_ids) OR 'NaN' = ANY (scores)) AS broken_results,
    -- What went out of stock since the publication began is refresh_catalog's, as in publish/audit.
    (SELECT count(*) FROM entries e LEFT JOIN {served_items} s USING (item_id) LEFT JOIN core.items i USING (item_id)
     WHERE NOT (coalesce(s.available, false) OR coalesce(i.in_stock AND NOT i.deleted, false))) AS unavailable_results,
    (SELECT count(*) FROM {query_categories} WHERE NOT probability BETWEEN 0 AND 1 OR cardinality(categories) <> cardinality(probabilities)) AS broken_categories
