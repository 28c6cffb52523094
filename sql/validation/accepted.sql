UPDATE ops.loads SET accepted = %(accepted)s WHERE load_id = %(load_id)s
