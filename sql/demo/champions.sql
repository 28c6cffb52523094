SELECT family, version, reason FROM analytics.champions WHERE until IS NULL ORDER BY family
