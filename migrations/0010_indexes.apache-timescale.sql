-- no-transaction
-- TimescaleDB makes such an index chunk by chunk, each in a transaction of its own; who writes to that chunk waits for it.

-- What is half-built by an earlier run that was cut short.
SELECT format('DROP INDEX %s', i.indexrelid::regclass)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
 WHERE NOT i.indisvalid AND c.relnamespace = current_schema()::regnamespace
   AND c.relname IN ('transactions_pool_id', 'transactions_trader', 'holes_open', 'faults_unresolved')
\gexec

CREATE INDEX IF NOT EXISTS transactions_pool_id ON transactions (pool_id, block_time DESC) WITH (timescaledb.transaction_per_chunk);

CREATE INDEX IF NOT EXISTS transactions_trader ON transactions (trader, block_time DESC) WITH (timescaledb.transaction_per_chunk);

CREATE INDEX CONCURRENTLY IF NOT EXISTS holes_open ON holes (first_slot, id) WHERE filled_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS faults_unresolved ON faults (id) WHERE resolved_at IS NULL;

-- To ask by these instead of by addresses: only of a number does the planner know that the index has its rows in order.
CREATE OR REPLACE VIEW recent_trades AS
SELECT r.block_time,
       r.venue,
       b.address AS mint,
       b.symbol,
       r.side,
       trim_scale(r.base_amount / 10::NUMERIC ^ b.decimals) AS base_amount,
       trim_scale(r.quote_amount / 10::NUMERIC ^ q.decimals) AS quote_amount,
       trim_scale(r.user_quote_amount / 10::NUMERIC ^ q.decimals) AS user_quote_amount,
       COALESCE(q.symbol, q.address) AS quote_symbol,
       trim_scale((r.quote_amount / 10::NUMERIC ^ q.decimals) / NULLIF(r.base_amount / 10::NUMERIC ^ b.decimals, 0)) AS price,
       trim_scale((r.mark_quote / 10::NUMERIC ^ q.decimals) / NULLIF(r.mark_base / 10::NUMERIC ^ b.decimals, 0)) AS mark_price,
       CASE WHEN r.curve_sold IS NOT NULL AND r.curve_total > 0
            THEN trim_scale(LEAST(ROUND(100.0 * r.curve_sold / r.curve_total, 4), 100)) END AS progress_percent,
       r.organic,
       r.synthetic,
       r.trader,
       p.address AS pool,
       r.slot,
       r.signature,
       r.token_id,
       r.pool_id
  FROM transactions r
  JOIN mints b ON b.id = r.token_id
  JOIN mints q ON q.id = r.quote_id
  JOIN pools p ON p.id = r.pool_id
 WHERE r.voided_at IS NULL
 ORDER BY r.block_time DESC, r.chain_order DESC;
