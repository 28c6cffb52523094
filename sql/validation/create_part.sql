CREATE VIEW {view} AS SELECT * FROM {table} WHERE {day} = ANY(%(days)s::date[])
