-- What the day said, as a table: its rows, and for a snapshot a deletion of every product that it leaves out.
CREATE TEMPORARY TABLE said ON COMMIT DROP AS SELECT * FROM {table} WHERE loaded_day = %(day)s;
ALTER TABLE said ADD PRIMARY KEY (item_id);
INSERT INTO said
SELECT item_id, title, description, category, brand, price, currency, image_url, attributes, in_stock, %(day)s::date, true, %(day)s::date
FROM core.items i
WHERE %(whole)s AND NOT EXISTS (SELECT FROM said s WHERE s.item_id = i.item_id)
  AND NOT (SELECT h.deleted FROM core.item_history h WHERE h.item_id = i.item_id AND h.valid_from < %(day)s ORDER BY h.valid_from DESC LIMIT 1);
-- A deletion may come without title and category: keep the last ones known.
UPDATE said s SET title = i.title, category = i.category FROM core.items i WHERE i.item_id = s.item_id AND s.deleted AND s.title = '';
ANALYZE said;

-- History: take back what this day said before, say it anew where it differs from the version before, and mend the chain.
CREATE TEMPORARY TABLE touched ON COMMIT DROP AS
SELECT item_id FROM said UNION SELECT item_id FROM core.item_history WHERE valid_from = %(day)s;
DELETE FROM core.item_history WHERE valid_from = %(day)s;
INSERT INTO core.item_history (item_id, valid_from, title, description, category, brand, price, currency, image_url, attributes, in_stock, deleted, updated_at)
SELECT s.item_id, %(day)s, s.title, s.description, s.category, s.brand, s.price, s.currency, s.image_url, s.attributes, s.in_stock, s.deleted, s.updated_at
FROM said s
LEFT JOIN LATERAL (SELECT h.* FROM core.item_history h WHERE h.item_id = s.item_id AND h.valid_from < %(day)s ORDER BY h.valid_from DESC LIMIT 1) AS before ON true
WHERE (before.title, before.description, before.category, before.brand, before.price, before.currency, before.image_url, before.attributes,
       before.in_stock, before.deleted)
      IS DISTINCT FROM (s.title, s.description, s.category, s.brand, s.price, s.currency, s.image_url, s.attributes, s.in_stock, s.deleted);
UPDATE core.item_history h SET valid_to = chain.next_from
FROM (SELECT item_id, valid_from, lead(valid_from) OVER (PARTITION BY item_id ORDER BY valid_from) AS next_from
      FROM core.item_history WHERE item_id IN (SELECT item_id FROM touched)) AS chain
WHERE h.item_id = chain.item_id AND h.valid_from = chain.valid_from AND h.valid_to IS DISTINCT FROM chain.next_from;

INSERT INTO core.items SELECT * FROM said
ON CONFLICT (item_id) DO UPDATE SET
    title = EXCLUDED.title, description = EXCLUDED.description, category = EXCLUDED.category, brand = EXCLUDED.brand, price = EXCLUDED.price,
    currency = EXCLUDED.currency, image_url = EXCLUDED.image_url, attributes = EXCLUDED.attributes, in_stock = EXCLUDED.in_stock,
    updated_at = EXCLUDED.updated_at, deleted = EXCLUDED.deleted, loaded_day = EXCLUDED.loaded_day
WHERE core.items.loaded_day <= EXCLUDED.loaded_day;
DROP TABLE said, touched
