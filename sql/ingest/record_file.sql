INSERT INTO ops.load_files (load_id, key, etag, bytes, sha256, rows_read)
VALUES (%(load_id)s, %(key)s, %(etag)s, %(bytes)s, %(sha256)s, %(rows_read)s)
