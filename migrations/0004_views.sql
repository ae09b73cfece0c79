-- Human units for people and dashboards. Prices are quote tokens per launched token; NULL where a decimals is not known.
-- LEAST passes over NULL: a progress that is not known must not come out as 100.

CREATE VIEW pool_prices AS
SELECT p.id AS pool_id,
       p.address AS pool,
       p.token_id,
       p.quote_id,
       q.address AS quote_mint,
       COALESCE(q.symbol, q.address) AS quote_symbol,
       trim_scale((p.mark_quote / 10::NUMERIC ^ q.decimals) / NULLIF(p.mark_base / 10::NUMERIC ^ b.decimals, 0)) AS price,
       CASE WHEN p.curve_sold IS NOT NULL AND p.curve_total > 0
            THEN trim_scale(LEAST(ROUND(100.0 * p.curve_sold / p.curve_total, 4), 100)) END AS progress_percent
  FROM pools p
  JOIN mints b ON b.id = p.token_id
  JOIN mints q ON q.id = p.quote_id;

CREATE VIEW recent_launches AS
SELECT t.launched_at,
       t.platform,
       t.mint,
       t.symbol,
       t.name,
       t.creator,
       x.price,
       trim_scale(x.price * t.supply / 10::NUMERIC ^ t.decimals) AS market_cap,
       x.quote_symbol,
       CASE WHEN t.completed_at IS NULL AND t.graduated_at IS NULL THEN c.progress_percent ELSE 100 END AS progress_percent,
       t.completed_at,
       t.graduated_at,
       c.pool AS curve,
       t.uri,
       t.launch_signature AS signature
  FROM tokens t
  LEFT JOIN pool_prices x ON x.pool_id = t.primary_pool_id
  LEFT JOIN pool_prices c ON c.pool_id = t.curve_id
 WHERE t.launched_at IS NOT NULL
 ORDER BY t.launched_at DESC;

CREATE VIEW recent_trades AS
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
       r.signature
  FROM transactions r
  JOIN mints b ON b.id = r.token_id
  JOIN mints q ON q.id = r.quote_id
  JOIN pools p ON p.id = r.pool_id
 WHERE r.voided_at IS NULL
 ORDER BY r.block_time DESC, r.chain_order DESC;

CREATE VIEW graduations AS
SELECT t.graduated_at,
       t.platform,
       t.mint,
       t.symbol,
       t.name,
       c.address AS curve,
       g.address AS pool,
       g.venue AS pool_venue,
       trim_scale(g.seed_base / 10::NUMERIC ^ t.decimals) AS seed_base,
       trim_scale(g.seed_quote / 10::NUMERIC ^ q.decimals) AS seed_quote,
       COALESCE(q.symbol, q.address) AS quote_symbol,
       x.price,
       trim_scale(x.price * t.supply / 10::NUMERIC ^ t.decimals) AS market_cap,
       t.launched_at,
       t.completed_at,
       t.graduated_signature AS signature
  FROM tokens t
  LEFT JOIN pools c ON c.id = t.curve_id
  LEFT JOIN pools g ON g.id = t.graduation_pool_id
  LEFT JOIN mints q ON q.id = g.quote_id
  LEFT JOIN pool_prices x ON x.pool_id = g.id
 WHERE t.graduated_at IS NOT NULL
 ORDER BY t.graduated_at DESC;
