-- Where nobody has searched yet: each title says its own category.
SELECT title AS query, category, 1.0::double precision AS weight, 1::bigint AS count, 0::bigint AS simulated
FROM core.items_on(%(last)s)
WHERE NOT deleted AND title <> ''
ORDER BY title COLLATE "C", category COLLATE "C"
