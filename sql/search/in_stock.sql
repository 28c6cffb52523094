SELECT item_id, title, coalesce(brand, '') AS brand, category, coalesce(description, '') AS description, attributes::text AS attributes
FROM core.items
WHERE NOT deleted AND in_stock AND (embedding IS NOT NULL OR NOT %(embedded)s)
ORDER BY item_id COLLATE "C"
