-- Without the embedding and the words, which no file brings (and whose types Great Expectations does not know).
CREATE UNLOGGED TABLE {table} (LIKE {model});
ALTER TABLE {table} DROP COLUMN embedding, DROP COLUMN embedding_key, DROP COLUMN words
