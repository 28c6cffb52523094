"""Search: which products answer a query (pairs, synthetic queries, lexical and hybrid ranking) and the tables made of it."""
