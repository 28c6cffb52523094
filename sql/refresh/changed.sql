-- gone: was to be had and is not; other: anything else that differs, which may bring the product onto lists or move it.
SELECT coalesce(l.item_id, f.item_id) AS item_id, l.number AS live_number,
       (l.available AND NOT coalesce(f.available, false)
        AND (f.item_id IS NULL OR (l.category, l.brand, l.price, l.fresh, l.tags, l.campaign) IS NOT DISTINCT FROM (f.category, f.brand, f.price, f.fresh, f.tags, f.campaign))) AS gone
FROM {live} l FULL JOIN {fresh} f USING (item_id)
WHERE (l.available OR f.available)
  AND (l.category, l.brand, l.price, l.available, l.fresh, l.tags, l.campaign) IS DISTINCT FROM (f.category, f.brand, f.price, f.available, f.fresh, f.tags, f.campaign)
ORDER BY 1
