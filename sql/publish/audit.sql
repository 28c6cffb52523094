WITH lists AS (SELECT user_id, item_ids, scores FROM {recommendations}),
entries AS (SELECT user_id, item_id FROM lists CROSS JOIN LATERAL unnest(item_ids) AS item_id)
SELECT
    (SELECT count(DISTINCT user_id) FROM core.events
     WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase'
       AND user_id NOT IN (SELECT user_id FROM ops.erased_users))                               AS expected_users,
    (SELECT count(*) FROM lists)                                                               AS users,
    (SELECT count(*) FROM {profiles})                                                          AS profiles,
    (SELECT count(DISTINCT item_id) FROM entries)                                              AS items,
    (SELECT count(*) FROM lists WHERE cardinality(item_ids) < %(list_length)s)                 AS short_lists,
    (SELECT count(*) FROM lists WHERE cardinality(item_ids) = 0)                               AS empty_lists,
    (SELECT count(*) FROM (SELECT FROM entries GROUP BY user_id, item_id HAVING count(*) > 1) AS twice) AS duplicates,
    (SELECT count(*) FROM entries e LEFT JOIN core.items i USING (item_id)
     WHERE i.item_id IS NULL OR i.deleted OR NOT i.in_stock)                                   AS unavailable_items,
    (SELECT count(*) FROM lists WHERE 'NaN' = ANY (scores) OR cardinality(scores) <> cardinality(item_ids)) AS broken_scores
