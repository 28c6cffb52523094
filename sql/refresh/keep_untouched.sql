CREATE TEMPORARY TABLE kept ON COMMIT DROP AS
SELECT user_id FROM {candidates} WHERE shard = %(shard)s AND user_id <> ALL (%(users)s::text[])
