-- DuckDB. What was bought, its users, products, categories and brands as numbers in the order of their names: to group and compare numbers
-- takes half the time and memory of texts.
CREATE TABLE users AS SELECT user_id AS name, row_number() OVER (ORDER BY user_id)::INTEGER AS user_id FROM (SELECT DISTINCT user_id FROM purchases);
CREATE TABLE category_names AS
SELECT category AS name, split_part(category, '/', 1) AS first_level, row_number() OVER (ORDER BY category) AS number
FROM (SELECT DISTINCT category FROM catalogue WHERE category IS NOT NULL);
CREATE TABLE brand_names AS SELECT brand AS name, row_number() OVER (ORDER BY brand) AS number FROM (SELECT DISTINCT brand FROM catalogue WHERE brand IS NOT NULL);
CREATE TABLE numbered AS SELECT coalesce(p.item_id, c.item_id) AS name, row_number() OVER ()::INTEGER AS item_id, category, brand, price, deleted
FROM (SELECT DISTINCT item_id FROM purchases WHERE item_id IS NOT NULL) p FULL JOIN catalogue c USING (item_id);
CREATE TABLE items AS
SELECT item_id, c.number AS category, b.number AS brand, price, deleted
FROM numbered LEFT JOIN category_names c ON c.name = category LEFT JOIN brand_names b ON b.name = brand;
CREATE TABLE bought AS
SELECT u.user_id, event_day, hour, i.item_id, p.price, quantity FROM purchases p JOIN users u ON u.name = p.user_id LEFT JOIN numbered i ON i.name = p.item_id;
DROP TABLE purchases;
-- How much of what, as one number: the largest are the most bought, of equals the first by name.
CREATE MACRO place(bought, number) AS bought * 4294967296 + 4294967295 - number;
CREATE MACRO bought_at(place) AS place // 4294967296;
CREATE MACRO number_at(place) AS 4294967295 - place % 4294967296;
