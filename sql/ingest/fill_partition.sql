-- Filled while detached; the CHECK spares ATTACH the scan under its lock.
DROP TABLE IF EXISTS {fresh};
CREATE TABLE {fresh} (LIKE core.events INCLUDING ALL, CHECK (event_day >= %(day)s::date AND event_day < %(day)s::date + 1));
INSERT INTO {fresh} SELECT * FROM {table} WHERE event_day = %(day)s
