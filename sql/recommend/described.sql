SELECT number, title, category, brand FROM {partition} WHERE number >= %(first)s AND number < %(beyond)s ORDER BY number
