-- What sells now is counted once a publication, with its catalogue, and not by each shard.
ALTER TABLE recs.served_items ADD COLUMN sold real NOT NULL DEFAULT 0;
COMMENT ON COLUMN recs.served_items.sold IS 'Events of the last days, times their weights, as many days as the model''s manifest names; 0 for all where it names none: the model then keeps what it was trained with';
