UPDATE {partition} SET vector = %(vector)s::vector, lenders = %(lenders)s, parts = %(parts)s WHERE number = %(number)s
