SELECT suggestion FROM analytics.suggest(%(typed)s)
