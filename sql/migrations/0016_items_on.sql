-- History holds all that the catalogue said, not only what the first models read.
ALTER TABLE core.item_history ADD COLUMN description text, ADD COLUMN currency text, ADD COLUMN image_url text,
    ADD COLUMN attributes jsonb NOT NULL DEFAULT '{}', ADD COLUMN updated_at timestamptz;
UPDATE core.item_history h SET description = i.description, currency = i.currency, image_url = i.image_url, attributes = i.attributes, updated_at = i.updated_at
FROM core.items i WHERE i.item_id = h.item_id AND h.valid_to IS NULL;
COMMENT ON COLUMN core.item_history.deleted  IS 'No longer in the catalogue: left out of a snapshot, or said so by the shop';
COMMENT ON COLUMN core.item_history.in_stock IS 'False: in the catalogue, but cannot be bought now. Not the same as deleted';

-- The catalogue on a day. The first catalogue that was ever loaded also speaks for the days before it: nothing else does, and
-- a shop that starts with a year of logs and today's catalogue could not train otherwise.
CREATE FUNCTION core.items_on(day date)
RETURNS TABLE (item_id text, title text, description text, category text, brand text, price double precision, currency text, image_url text,
               attributes jsonb, in_stock boolean, deleted boolean)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT h.item_id, h.title, h.description, h.category, h.brand, h.price, h.currency, h.image_url, h.attributes, h.in_stock, h.deleted
    FROM core.item_history h
    CROSS JOIN (SELECT greatest(items_on.day, min(f.valid_from)) AS day FROM core.item_history f) AS asked
    WHERE h.valid_from <= asked.day AND (h.valid_to IS NULL OR h.valid_to > asked.day);
END;
COMMENT ON FUNCTION core.items_on(date) IS 'What the catalogue said on a day, deleted products included (deleted = true): training of a day reads this, so that it never sees the future. Days before the first catalogue get the first one';

CREATE VIEW analytics.item_history AS
    SELECT item_id, valid_from, valid_to, title, description, category, brand, price, currency, image_url, attributes, in_stock, deleted, updated_at
    FROM core.item_history;
COMMENT ON VIEW analytics.item_history IS 'What the catalogue said on any day: a row holds from valid_from up to but not including valid_to (NULL: still)';
