-- Whether this model placed the products: one of the first hundred says so, as a text may have changed since.
SELECT EXISTS (SELECT FROM (SELECT i FROM core.items i WHERE embedding IS NOT NULL AND NOT deleted LIMIT 100) AS sample
               WHERE core.embedding_key(%(model)s, i) = (i).embedding_key) AS found
