SELECT EXISTS (SELECT FROM analytics.query_results WHERE query = core.normal_query(%(query)s)) AS found
