-- Made detached and then attached: unlike PARTITION OF, that lets readers of the table go on.
CREATE TABLE {partition} (LIKE {table} INCLUDING ALL);
ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM (%(first)s::date) TO (%(next)s::date)
