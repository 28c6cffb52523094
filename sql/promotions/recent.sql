-- DuckDB. Contacts that each user had in the window before `day`.
SELECT user_id, count(*) FROM contacts WHERE event_day < $day::DATE AND event_day >= $day::DATE - $window::INTEGER GROUP BY user_id
