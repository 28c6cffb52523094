SELECT item_id, title, category, coalesce(brand, '') AS brand
FROM core.items
WHERE NOT deleted
ORDER BY item_id COLLATE "C"
