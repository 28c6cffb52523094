SELECT item_id FROM core.items WHERE NOT deleted AND in_stock
