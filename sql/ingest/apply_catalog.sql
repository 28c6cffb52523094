-- What the day said, as a table: its rows, and for a snapshot a deletion of every product that it leaves out.
CREATE TEMPORARY TABLE said ON COMMIT DROP AS SELECT * FROM {table} WHERE loaded_day = %(day)s;
ALTER TABLE said ADD PRIMARY KEY (item_id);
INSERT INTO said
SELECT item_id, title, description, category, brand, price, currency, image_url, attributes, in_stock, %(day)s::date, true, %(day)s::date
FROM (SELECT DISTINCT ON (item_id) * FROM core.item_history WHERE %(whole)s AND valid_from < %(day)s ORDER BY item_id, valid_from DESC) known
WHERE NOT deleted AND NOT EXISTS (SELECT FROM said s WHERE s.item_id = known.item_id);
-- A deletion may come without title or category: each by itself keeps the last one known.
UPDATE said s SET
    title = coalesce(nullif(s.title, ''), (SELECT h.title FROM core.item_history h WHERE h.item_id = s.item_id AND h.valid_from < %(day)s AND h.title <> '' ORDER BY h.valid_from DESC LIMIT 1), ''),
    category = coalesce(nullif(s.category, ''), (SELECT h.category FROM core.item_history h WHERE h.item_id = s.item_id AND h.valid_from < %(day)s AND h.category <> '' ORDER BY h.valid_from DESC LIMIT 1), '')
WHERE s.deleted AND '' IN (s.title, s.category);
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
-- What only an earlier version of this day said is no longer so.
UPDATE core.items i SET
    title = h.title, description = h.description, category = h.category, brand = h.brand, price = h.price, currency = h.currency, image_url = h.image_url,
    attributes = h.attributes, in_stock = h.in_stock, updated_at = h.updated_at, deleted = h.deleted, loaded_day = h.valid_from
FROM (SELECT DISTINCT ON (item_id) * FROM core.item_history WHERE item_id IN (SELECT item_id FROM touched EXCEPT SELECT item_id FROM said)
      ORDER BY item_id, valid_from DESC) h
WHERE i.item_id = h.item_id AND i.loaded_day = %(day)s;
UPDATE core.items i SET deleted = true
WHERE item_id IN (SELECT item_id FROM touched EXCEPT SELECT item_id FROM said) AND NOT EXISTS (SELECT FROM core.item_history h WHERE h.item_id = i.item_id);
DROP TABLE said, touched
