-- Buyers in order, cut where what they cost adds up to the budget: shard i holds the users from its first_user up to, not including, the next one's.
SELECT (row_number() OVER (ORDER BY user_id) - 1)::integer AS shard, user_id AS first_user, lead(user_id) OVER (ORDER BY user_id) AS next_user
FROM (
    SELECT user_id, part, lag(part) OVER (ORDER BY user_id) AS before
    FROM (
        SELECT user_id, floor((sum(cost) OVER (ORDER BY user_id) - cost) / %(budget)s) AS part
        FROM (SELECT user_id, (%(per_user)s + %(per_event)s * count(*))::numeric AS cost FROM core.events
              WHERE event_day BETWEEN %(first_day)s AND %(day)s AND event_type = 'purchase' GROUP BY user_id) AS buyers
    ) AS costed
) AS parts
WHERE part IS DISTINCT FROM before
ORDER BY shard
