SELECT item_id, category, brand, price, available::integer AS available, fresh::integer AS fresh, to_json(tags) AS tags, campaign, coalesce(vector::text, '') AS vector, sold
FROM {partition} ORDER BY number
