-- The newest publication made for an earlier day; one that was refreshed since then is the refreshed one.
INSERT INTO ops.outcomes (day, publication_id, users, hit_users, items, hits, usual)
WITH lists AS (
    SELECT r.publication_id, r.user_id, r.item_ids[1:10] AS best
    FROM recs.user_recommendations r
    WHERE r.context = 'home' AND r.publication_id = (
        SELECT publication_id FROM ops.publications WHERE day < %(day)s AND state IN ('live', 'superseded') ORDER BY day DESC, publication_id DESC LIMIT 1)
), bought AS (
    SELECT DISTINCT user_id, item_id FROM core.events WHERE event_day = %(day)s AND event_type = 'purchase'
), judged AS (
    SELECT publication_id, user_id, count(*) AS items, count(*) FILTER (WHERE item_id = ANY (best)) AS hits
    FROM lists JOIN bought USING (user_id) GROUP BY publication_id, user_id
)
SELECT %(day)s, publication_id, count(*), count(*) FILTER (WHERE hits > 0), sum(items), sum(hits),
       (SELECT CASE WHEN count(*) >= 7 THEN sum(hit_users)::double precision / nullif(sum(users), 0) END
        FROM ops.outcomes WHERE day BETWEEN %(day)s::date - 28 AND %(day)s::date - 1)
FROM judged GROUP BY publication_id
ON CONFLICT (day) DO UPDATE SET publication_id = EXCLUDED.publication_id, users = EXCLUDED.users, hit_users = EXCLUDED.hit_users,
    items = EXCLUDED.items, hits = EXCLUDED.hits, usual = EXCLUDED.usual
