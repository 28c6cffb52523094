-- The segment of each user of a shard: the value that most of their events carry in this field of `context`.
SELECT DISTINCT ON (user_id) user_id, segment
FROM (SELECT user_id, context ->> %(field)s AS segment, count(*) AS events FROM core.events
      WHERE event_day BETWEEN %(first_day)s AND %(day)s AND context ? %(field)s
        AND user_id >= %(first_user)s AND (%(next_user)s::text IS NULL OR user_id < %(next_user)s)
      GROUP BY 1, 2) AS counted
ORDER BY user_id, events DESC, segment
