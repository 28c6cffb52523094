SELECT embedding FROM core.items WHERE NOT deleted AND in_stock AND embedding IS NOT NULL ORDER BY item_id COLLATE "C"
