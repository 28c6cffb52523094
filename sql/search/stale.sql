-- Products whose embedding is missing, or was made of another text or by another model. The key says both.
SELECT item_id, title, coalesce(brand, '') AS brand, category, coalesce(description, '') AS description, attributes::text AS attributes, key
FROM (SELECT i.*, core.embedding_key(%(model)s, i) AS key FROM core.items i WHERE NOT deleted) AS keyed
WHERE key IS DISTINCT FROM embedding_key
ORDER BY item_id COLLATE "C"
LIMIT %(most)s
