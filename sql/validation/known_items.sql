SELECT item_id FROM core.items
