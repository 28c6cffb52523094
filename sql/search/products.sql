-- What the retriever reads of each product that might be shown on the last day.
SELECT item_id, title, coalesce(brand, '') AS brand, category, coalesce(description, '') AS description, attributes::text AS attributes, in_stock
FROM core.items_on(%(last)s)
WHERE NOT deleted
ORDER BY item_id COLLATE "C"
