SELECT item_id, coalesce(category, '') AS category, coalesce(brand, '') AS brand, price, (in_stock AND NOT deleted)::integer AS available, 0 AS fresh,
       to_json(CASE WHEN jsonb_typeof(attributes -> 'tags') = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(attributes -> 'tags')) ELSE '{{}}'::text[] END) AS tags,
       coalesce(attributes ->> 'campaign', '') AS campaign, '' AS vector, '' AS lenders, '' AS parts, 0::real AS sold
FROM core.items ORDER BY item_id
