-- How much of the first ten of the live home lists a publication would keep, over the users that both have.
SELECT avg((SELECT count(*) FROM unnest(live.item_ids[1:10]) AS item WHERE item = ANY (new.item_ids[1:10]))::double precision / nullif(least(cardinality(live.item_ids), 10), 0)) AS overlap
FROM {recommendations} new
JOIN recs.user_recommendations live ON live.user_id = new.user_id AND live.context = 'home'
    AND live.publication_id = (SELECT publication_id FROM ops.publications WHERE state = 'live')
WHERE new.context = 'home'
