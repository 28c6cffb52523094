SELECT query, searches, score FROM head ORDER BY query COLLATE "C"
