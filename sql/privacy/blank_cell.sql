UPDATE {table} SET {column} = %(cell)s WHERE tableoid = %(tableoid)s AND ctid = %(ctid)s::tid
