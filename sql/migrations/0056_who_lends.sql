-- Whom a new product borrows its score from is found once a publication, with its catalogue, and not by each shard.
ALTER TABLE recs.served_items ADD COLUMN lenders integer[], ADD COLUMN parts real[];
COMMENT ON COLUMN recs.served_items.lenders IS 'Numbers of the learned products that a new one is most like, nearest first; NULL for those that the model has learned';
COMMENT ON COLUMN recs.served_items.parts IS 'What part the score of each of lenders has in the score of the new product, 1 in all';
