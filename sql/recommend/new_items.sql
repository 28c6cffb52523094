SELECT number, title, category, brand FROM {partition} WHERE number >= %(known)s ORDER BY number
