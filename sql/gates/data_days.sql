-- How whole and how fresh the days are that a model learned from. No row of ops.loads: the tables were not filled by loads.
SELECT count(*) FILTER (WHERE loaded) AS days, %(last)s::date - max(day) FILTER (WHERE loaded) AS stale_days,
       1 - count(*) FILTER (WHERE loaded) / (max(day) - min(day) + 1.0) AS missing_share
FROM (SELECT day, bool_or(state = 'loaded') AS loaded FROM ops.loads WHERE kind = 'events' AND day BETWEEN %(first)s AND %(last)s GROUP BY day) AS known
HAVING count(*) FILTER (WHERE loaded) > 0
