SELECT item_id, category, brand, price, available::integer AS available, fresh::integer AS fresh, to_json(tags) AS tags, campaign, coalesce(vector::text, '') AS vector,
       coalesce(to_json(lenders)::text, '') AS lenders, coalesce(to_json(parts)::text, '') AS parts, sold
FROM {partition} ORDER BY number
