SELECT kind, day, dimension, value, amount, usual FROM {statistics} ORDER BY day, dimension, value
