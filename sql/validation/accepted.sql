UPDATE ops.loads SET accepted = %(accepted)s, docs = %(docs)s WHERE load_id = %(load_id)s
