-- The catalogue as this publication sees it: the model's items in its order, then available products that appeared lately.
-- Where only some products are asked about, the others are those of the live publication.
INSERT INTO {partition} (publication_id, number, item_id, title, category, brand, price, available, fresh, tags, campaign, sold)
WITH history AS (SELECT item_id, min(valid_from) AS first_day FROM core.item_history GROUP BY item_id),
-- What was there on the shop's first catalogue day is not new, however lately that was.
opened AS (SELECT least((SELECT min(valid_from) FROM core.item_history), (SELECT min(loaded_day) FROM core.items)) AS day),
items AS (
    SELECT i.*, coalesce(h.first_day, i.loaded_day) > greatest(o.day, %(day)s::date - %(new_item_days)s::integer) AS fresh
    FROM core.items i LEFT JOIN history h USING (item_id) CROSS JOIN opened o
),
known AS (SELECT item_id, (place - 1)::integer AS number FROM unnest(%(item_ids)s::text[]) WITH ORDINALITY AS k (item_id, place)),
served AS (
    SELECT number, item_id FROM known
    UNION ALL
    SELECT cardinality(%(item_ids)s::text[]) + (row_number() OVER (ORDER BY item_id) - 1)::integer, item_id
    FROM items WHERE %(new_items)s AND item_id NOT IN (SELECT item_id FROM known)
        AND CASE WHEN %(asked)s::text[] IS NULL OR item_id = ANY (%(asked)s::text[]) THEN fresh AND in_stock AND NOT deleted ELSE item_id IN (SELECT item_id FROM {live}) END
)
SELECT %(publication_id)s, s.number, s.item_id, coalesce(i.title, ''), coalesce(i.category, ''), coalesce(i.brand, ''), i.price,
       coalesce(i.in_stock AND NOT i.deleted, false), coalesce(i.fresh, false),
       CASE WHEN jsonb_typeof(i.attributes -> 'tags') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(i.attributes -> 'tags')) ELSE '{{}}' END,
       coalesce(i.attributes ->> 'campaign', ''), coalesce(n.sold, 0)
FROM served s LEFT JOIN items i USING (item_id) LEFT JOIN unnest(%(sold_items)s::text[], %(sold)s::real[]) AS n (item_id, sold) USING (item_id)
ORDER BY s.number
