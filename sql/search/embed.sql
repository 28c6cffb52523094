-- A product that changed meanwhile gets another key next time: what is written says which text it is of.
UPDATE core.items i SET embedding = e.embedding, embedding_key = e.key FROM embedded e WHERE e.item_id = i.item_id
