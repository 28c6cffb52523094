-- Somebody who was erased while these rows were being made.
DELETE FROM {table} WHERE user_id IN (SELECT user_id FROM ops.erased_users)
