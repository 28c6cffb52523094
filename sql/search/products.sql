-- What the retriever reads of each product that may be shown.
SELECT item_id, title, coalesce(brand, '') AS brand, category, coalesce(description, '') AS description, attributes::text AS attributes, in_stock
FROM core.items
WHERE NOT deleted
ORDER BY item_id COLLATE "C"
