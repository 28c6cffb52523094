SELECT item_id, title, category, price, score FROM analytics.search_products(%(query)s::text, %(k)s)
