SELECT item_id, category, brand, price, deleted FROM core.items
