-- What the rules name and no product has, first the first rule's.
SELECT place, key, name
FROM unnest(%(wheres)s::text[], %(keys)s::text[], %(names)s::text[]) WITH ORDINALITY AS asked (place, key, name, number)
WHERE NOT CASE key
    WHEN 'category' THEN EXISTS (SELECT FROM core.items WHERE category = name OR starts_with(category, name || '/'))
    WHEN 'brand'    THEN EXISTS (SELECT FROM core.items WHERE brand = name)
    WHEN 'item'     THEN EXISTS (SELECT FROM core.items WHERE item_id = name)
    WHEN 'tag'      THEN EXISTS (SELECT FROM core.items WHERE attributes -> 'tags' ? name)
    ELSE EXISTS (SELECT FROM core.items WHERE attributes ->> 'campaign' = name) END
ORDER BY number
