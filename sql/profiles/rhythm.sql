-- DuckDB. One number for how a user's time since the last order (idle, days) relates to their mean days between orders (NULL after one
-- order): the tens say how often they order, the units how overdue they are.
CREATE MACRO rhythm(gap, idle) AS CASE
    WHEN gap IS NULL THEN (idle >= 3)::INT + (idle >= 7)::INT + (idle >= 14)::INT + (idle >= 28)::INT + (idle >= 56)::INT
    ELSE 10 * (1 + (gap >= 2)::INT + (gap >= 4)::INT + (gap >= 7)::INT + (gap >= 14)::INT + (gap >= 28)::INT)
         + (idle >= 0.5 * gap)::INT + (idle >= gap)::INT + (idle >= 1.5 * gap)::INT + (idle >= 2 * gap)::INT + (idle >= 3 * gap)::INT + (idle >= 5 * gap)::INT END;
-- What is left of it where too few were seen with the same rhythm: after one order or several, and how overdue.
CREATE MACRO overdue(rhythm) AS CASE WHEN rhythm < 10 THEN rhythm ELSE 10 + rhythm % 10 END;
