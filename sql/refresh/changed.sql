-- gone: was to be had and is not, and moved no number; other: anything else that differs, which may bring the product onto lists or move it.
-- A product in one of the two alone is other, also where it sold out: numbers of new products follow one another, and what a new one is like, how
-- well the others sell and what its buyers bought are reckoned among those that are numbered.
SELECT coalesce(l.item_id, f.item_id) AS item_id, l.number AS live_number,
       (l.available AND NOT f.available
        AND (l.number, l.category, l.brand, l.price, l.fresh, l.tags, l.campaign) IS NOT DISTINCT FROM (f.number, f.category, f.brand, f.price, f.fresh, f.tags, f.campaign)) AS gone
FROM {live} l FULL JOIN {fresh} f USING (item_id)
WHERE l.number IS DISTINCT FROM f.number
   OR (l.available OR f.available)
      AND (l.category, l.brand, l.price, l.available, l.fresh, l.tags, l.campaign) IS DISTINCT FROM (f.category, f.brand, f.price, f.available, f.fresh, f.tags, f.campaign)
ORDER BY 1
