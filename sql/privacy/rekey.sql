-- HMAC-SHA-256 (RFC 2104) of the stored ids, as ecomrec.privacy.pseudonyms makes them. One statement: the old ids are gone with the last of them.
UPDATE {table} SET user_id = 'u' || translate(left(encode(substring(sha256(%(outer)s::bytea || sha256(%(inner)s::bytea || convert_to(user_id, 'UTF8'))) FOR 16), 'base64'), 22), '+/', '-_')
