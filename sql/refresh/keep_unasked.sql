-- A refresh of some products leaves the others as the live publication saw them.
UPDATE {fresh} f SET title = l.title, category = l.category, brand = l.brand, price = l.price, available = l.available, fresh = l.fresh, tags = l.tags, campaign = l.campaign
FROM {live} l
WHERE l.item_id = f.item_id AND (%(items)s::text[] IS NOT NULL OR %(category)s::text IS NOT NULL OR %(since)s::timestamptz IS NOT NULL)
  AND NOT (f.item_id = ANY (coalesce(%(items)s::text[], '{{}}'))
           OR coalesce(f.category = %(category)s OR starts_with(f.category, %(category)s || '/') OR l.category = %(category)s OR starts_with(l.category, %(category)s || '/'), false)
           OR EXISTS (SELECT FROM core.items i WHERE i.item_id = f.item_id AND i.updated_at >= %(since)s::timestamptz))
