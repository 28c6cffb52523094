-- Of two first loads at once, the first decides for both.
INSERT INTO ops.user_key (fingerprint, keys) VALUES (%(fingerprint)s, %(keys)s)
ON CONFLICT (only_one) DO UPDATE SET only_one = true
RETURNING fingerprint
