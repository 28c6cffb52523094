-- An ordinary regular: still buying, with as many orders as makes a list easy to judge.
SELECT user_id, orders, spend, lifecycle, top_categories FROM analytics.user_profiles
ORDER BY (lifecycle <> 'active'), abs(orders - 30), user_id
LIMIT 1
