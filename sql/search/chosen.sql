-- What people chose after each head query, older choices counting less: 1 clicked, 2 put in the cart, 3 bought.
SELECT h.query, o.item_id, sum(o.weight) AS weight
FROM head h
JOIN (
    SELECT core.normal_query(query) AS query, item_id, weight
    FROM (
        SELECT query, item_id, sum((CASE WHEN purchased THEN 3 WHEN carted THEN 2 ELSE 1 END)
                                   * power(2, -(%(day)s::date - event_day) / %(half_life)s::double precision)) AS weight
        FROM core.search_outcomes WHERE event_day BETWEEN %(first_day)s AND %(day)s GROUP BY query, item_id) AS typed) AS o USING (query)
GROUP BY h.query, o.item_id
ORDER BY h.query COLLATE "C", o.item_id COLLATE "C"
