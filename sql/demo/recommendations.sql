SELECT rank, title, brand, price, reason, because_title FROM analytics.user_recommendations
WHERE user_id = %(user_id)s AND rank <= %(rows)s
ORDER BY rank
