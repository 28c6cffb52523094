INSERT INTO ops.user_key (fingerprint, keys) VALUES (%(fingerprint)s, %(keys)s)
ON CONFLICT (only_one) DO UPDATE SET fingerprint = EXCLUDED.fingerprint, keys = EXCLUDED.keys, since = now()
