-- Hyper-parameter searches: Optuna makes its own tables here.
CREATE SCHEMA tuning;
COMMENT ON SCHEMA tuning IS 'Studies of `ecomrec tune`: Optuna''s own tables, so that a search goes on where it was left. Holds no data of the shop.';
