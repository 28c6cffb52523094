-- Without the embedding, which no file brings (and whose type Great Expectations does not know).
CREATE UNLOGGED TABLE {table} (LIKE {model});
ALTER TABLE {table} DROP COLUMN embedding, DROP COLUMN embedding_key
