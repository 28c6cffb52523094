-- By cosine, on half-precision values: half the size, the same order (pgvector's README). Built after the first fill: much faster than row by row.
CREATE INDEX IF NOT EXISTS {index} ON core.items USING hnsw ((embedding::halfvec(%(dimensions)s)) halfvec_cosine_ops) WITH (m = 12, ef_construction = 48)
WHERE vector_dims(embedding) = %(dimensions)s
