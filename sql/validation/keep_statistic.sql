INSERT INTO ops.day_statistics (kind, day, dimension, value, amount, usual)
VALUES (%(kind)s, %(day)s, %(dimension)s, %(value)s, %(amount)s, %(usual)s)
