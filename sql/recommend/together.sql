SELECT t.item_id, u.other, u.strength FROM {partition} t CROSS JOIN LATERAL unnest(t.item_ids, t.strengths) AS u (other, strength)
