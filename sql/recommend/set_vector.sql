UPDATE {partition} SET vector = %(vector)s::vector WHERE number = %(number)s
