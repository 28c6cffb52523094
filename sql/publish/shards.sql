-- Every n-th user in order: shard i holds the users from its first_user up to, not including, the next one's.
SELECT (row_number() OVER (ORDER BY user_id) - 1)::integer AS shard, user_id AS first_user, lead(user_id) OVER (ORDER BY user_id) AS next_user
FROM (
    SELECT user_id, row_number() OVER (ORDER BY user_id) AS number
    FROM (SELECT DISTINCT user_id FROM core.events
          WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase') AS buyers
) AS numbered
WHERE (number - 1) %% %(shard_users)s = 0
ORDER BY shard
