UPDATE ops.erased_users SET proved_at = now() WHERE user_id = ANY (%(pseudonyms)s)
