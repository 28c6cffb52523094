-- What is usual: the median of the same weekday in the 8 weeks before, when there are three, else of the 4 weeks before, when
-- there are seven days. Days of one batch are before one another too.
WITH before AS (
    SELECT day, dimension, value, amount FROM {statistics}
    UNION ALL
    SELECT o.day, o.dimension, o.value, o.amount
    FROM ops.day_statistics o
    WHERE o.kind = %(kind)s AND o.day BETWEEN %(first)s::date - 56 AND %(last)s::date AND NOT o.day = ANY(%(days)s::date[])
), compared AS (
    SELECT s.day, s.dimension, s.value,
           count(*) FILTER (WHERE (s.day - b.day) %% 7 = 0) AS weekdays,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY b.amount) FILTER (WHERE (s.day - b.day) %% 7 = 0) AS of_weekdays,
           count(*) FILTER (WHERE b.day >= s.day - 28) AS days,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY b.amount) FILTER (WHERE b.day >= s.day - 28) AS of_days
    FROM {statistics} s
    JOIN before b ON b.dimension = s.dimension AND b.value = s.value AND b.day BETWEEN s.day - 56 AND s.day - 1
    GROUP BY s.day, s.dimension, s.value
)
UPDATE {statistics} s SET usual = CASE WHEN c.weekdays >= 3 THEN c.of_weekdays WHEN c.days >= 7 THEN c.of_days END
FROM compared c
WHERE c.day = s.day AND c.dimension = s.dimension AND c.value = s.value
