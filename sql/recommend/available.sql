SELECT number AS item, item_id, category FROM {served} WHERE available
