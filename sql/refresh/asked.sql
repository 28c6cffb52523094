-- Products that a refresh is asked to look at: those named, of the category now or as the live publication saw it, or updated since.
SELECT item_id
FROM core.items i FULL JOIN {live} l USING (item_id)
WHERE item_id = ANY (%(items)s::text[])
   OR i.category = %(category)s OR starts_with(i.category, %(category)s || '/') OR l.category = %(category)s OR starts_with(l.category, %(category)s || '/')
   OR i.updated_at >= %(since)s::timestamptz
