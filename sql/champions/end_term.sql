UPDATE ops.champions SET until = clock_timestamp(), withdrawn = %(withdrawn)s WHERE family = %(family)s AND until IS NULL
