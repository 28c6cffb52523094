-- Not unlogged: it becomes the live partition. The CHECK spares both ATTACHes a scan under their lock.
SET LOCAL client_connection_check_interval = '2s';
CREATE TABLE {leaf} (LIKE core.events INCLUDING ALL EXCLUDING INDEXES, CONSTRAINT one_day CHECK (event_day = %(day)s::date))
