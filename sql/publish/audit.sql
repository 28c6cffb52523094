WITH lists AS (SELECT user_id, context, scope, item_ids, scores, reasons, because, evidence FROM {recommendations}),
home AS (SELECT * FROM lists WHERE context = 'home'),
entries AS (SELECT user_id, context, scope, item_id FROM lists CROSS JOIN LATERAL unnest(item_ids) AS item_id)
SELECT
    (SELECT count(DISTINCT user_id) FROM core.events
     WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase'
       AND user_id NOT IN (SELECT user_id FROM ops.erased_users))                               AS expected_users,
    (SELECT count(*) FROM home)                                                                AS users,
    (SELECT count(*) FROM {profiles})                                                          AS profiles,
    (SELECT count(DISTINCT item_id) FROM entries)                                              AS items,
    (SELECT count(*) FROM home WHERE cardinality(item_ids) < %(list_length)s)                  AS short_lists,
    (SELECT count(*) FROM home WHERE cardinality(item_ids) = 0)                                AS empty_lists,
    (SELECT count(*) FROM lists WHERE cardinality(item_ids) <> (SELECT count(DISTINCT i) FROM unnest(item_ids) AS i)) AS duplicates,
    -- Against the catalogue that the lists were made for; what went out of stock since then is refresh_catalog's.
    (SELECT count(*) FROM entries e LEFT JOIN {served} s USING (item_id) LEFT JOIN core.items i USING (item_id)
     WHERE NOT coalesce(s.available, i.in_stock AND NOT i.deleted, false))                      AS unavailable_items,
    (SELECT count(*) FROM lists WHERE 'NaN' = ANY (scores) OR cardinality(scores) <> cardinality(item_ids)
        OR cardinality(reasons) <> cardinality(item_ids) OR cardinality(because) <> cardinality(item_ids)) AS broken_scores,
    (SELECT jsonb_object_agg(context, lists) FROM (SELECT context, count(*) AS lists FROM lists GROUP BY context) AS c) AS contexts,
    (SELECT jsonb_object_agg(reason, times) FROM (SELECT reason, count(*) AS times FROM home CROSS JOIN LATERAL unnest(reasons) AS reason GROUP BY reason) AS r) AS reasons,
    (SELECT to_jsonb(percentile_cont(ARRAY[0.05, 0.5, 0.95]) WITHIN GROUP (ORDER BY scores[1])) FROM home)  AS first_scores
