-- The catalogue as it was on the data set's day: what became of a product later is not known to training.
SELECT item_id, title, category, coalesce(brand, '') AS brand, price
FROM core.items_on(%(day)s)
WHERE NOT deleted
ORDER BY item_id COLLATE "C"
