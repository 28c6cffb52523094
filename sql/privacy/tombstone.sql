INSERT INTO ops.erased_users (user_id) SELECT unnest(%(pseudonyms)s::text[]) ON CONFLICT (user_id) DO UPDATE SET proved_at = NULL
