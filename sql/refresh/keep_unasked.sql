-- A refresh of some products leaves the others as the live publication saw them. Which ones are there at all, recommend/snapshot says.
UPDATE {fresh} f SET title = l.title, category = l.category, brand = l.brand, price = l.price, available = l.available, fresh = l.fresh, tags = l.tags, campaign = l.campaign
FROM {live} l
WHERE l.item_id = f.item_id AND f.item_id <> ALL (%(asked)s::text[])
