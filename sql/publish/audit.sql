-- Lists are read three times, each time in parallel: by list, by item on them, and the first scores. Whatever is counted per item is joined after counting.
WITH per_context AS MATERIALIZED (
    SELECT context, count(*) AS lists, count(*) FILTER (WHERE cardinality(item_ids) < %(list_length)s) AS short, count(*) FILTER (WHERE cardinality(item_ids) = 0) AS empty,
           count(*) FILTER (WHERE cardinality(item_ids) <> (SELECT count(DISTINCT i) FROM unnest(item_ids) AS i)) AS duplicates,
           count(*) FILTER (WHERE 'NaN' = ANY (scores) OR cardinality(scores) <> cardinality(item_ids)
                            OR cardinality(reasons) <> cardinality(item_ids) OR cardinality(because) <> cardinality(item_ids)) AS broken
    FROM {recommendations} GROUP BY context),
home AS (SELECT * FROM per_context WHERE context = 'home'),
entries AS MATERIALIZED (
    SELECT context = 'home' AS home, e.item_id, e.reason, count(*) AS times
    FROM {recommendations} CROSS JOIN LATERAL unnest(item_ids, reasons) AS e (item_id, reason) GROUP BY 1, 2, 3)
SELECT
    (SELECT count(*) FROM (SELECT DISTINCT user_id FROM core.events
                           WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase') AS buyers
     WHERE user_id NOT IN (SELECT user_id FROM ops.erased_users))                               AS expected_users,
    coalesce((SELECT lists FROM home), 0)                                                      AS users,
    (SELECT count(*) FROM {profiles})                                                          AS profiles,
    (SELECT count(DISTINCT item_id) FROM entries)                                              AS items,
    coalesce((SELECT short FROM home), 0)                                                      AS short_lists,
    coalesce((SELECT empty FROM home), 0)                                                      AS empty_lists,
    (SELECT coalesce(sum(duplicates), 0)::bigint FROM per_context)                             AS duplicates,
    -- Against the catalogue that the lists were made for; what went out of stock since then is refresh_catalog's.
    (SELECT coalesce(sum(times), 0)::bigint FROM entries e LEFT JOIN {served} s USING (item_id) LEFT JOIN core.items i USING (item_id)
     WHERE e.item_id IS NOT NULL AND NOT coalesce(s.available, i.in_stock AND NOT i.deleted, false)) AS unavailable_items,
    (SELECT coalesce(sum(broken), 0)::bigint FROM per_context)                                 AS broken_scores,
    (SELECT jsonb_object_agg(context, lists) FROM per_context)                                 AS contexts,
    (SELECT jsonb_object_agg(reason, times) FROM (SELECT reason, sum(times) AS times FROM entries WHERE home AND reason IS NOT NULL GROUP BY reason) AS r) AS reasons,
    (SELECT to_jsonb(percentile_cont(ARRAY[0.05, 0.5, 0.95]) WITHIN GROUP (ORDER BY scores[1])) FROM {recommendations} WHERE context = 'home') AS first_scores
