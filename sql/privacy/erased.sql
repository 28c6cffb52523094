SELECT user_id FROM ops.erased_users ORDER BY user_id
