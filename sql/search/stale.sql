-- Products whose embedding is missing, or was made of another text or by another model. The key says both.
SELECT item_id, title, coalesce(brand, '') AS brand, category, coalesce(description, '') AS description, attributes::text AS attributes, key
FROM (SELECT *, md5(%(model)s || chr(31) || concat_ws(chr(31), title, brand, category, description, attributes::text)) AS key FROM core.items WHERE NOT deleted) AS keyed
WHERE key IS DISTINCT FROM embedding_key
ORDER BY item_id COLLATE "C"
LIMIT %(most)s
