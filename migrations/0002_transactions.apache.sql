-- TimescaleDB makes chunks by itself. The key starts with the time, so the default index on it would be a second one.

SELECT create_hypertable(
    'transactions', 'block_time', chunk_time_interval => INTERVAL '1 day', create_default_indexes => FALSE
);
