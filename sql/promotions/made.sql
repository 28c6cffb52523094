-- DuckDB. Users whom each campaign has reached so far.
SELECT campaign, count(DISTINCT user_id) FROM contacts WHERE event_day < $day::DATE GROUP BY campaign
