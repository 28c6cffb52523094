SELECT item_id, title, category, price, score FROM analytics.search_products(%(vector)s::vector, %(k)s)
