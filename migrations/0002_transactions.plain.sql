-- Plain PostgreSQL: one native partition a day, made by the daemon before a batch needs it (monitor/store/partitions.py).
-- Its tables are created beside `transactions` and attached, which does not lock readers out.

ALTER TABLE transactions RENAME TO transactions_unpartitioned;
CREATE TABLE transactions (LIKE transactions_unpartitioned INCLUDING ALL) PARTITION BY RANGE (block_time);
DROP TABLE transactions_unpartitioned;
