SELECT query FROM head WHERE query IN (SELECT query FROM suggestible)
