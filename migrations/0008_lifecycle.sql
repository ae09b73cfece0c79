-- How long rows stay. What is older than `trades_from` is no row any more but a fault: its candles are made, and the rows
-- that they were made of are dropped, or about to be.

CREATE TABLE lifecycle (
    one         BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    trades_from TIMESTAMPTZ,
    dropping    TEXT,
    updated_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
INSERT INTO lifecycle DEFAULT VALUES;

-- A token with amounts beyond a BIGINT: what was refused of it is in `faults`, and its numbers lack that.
ALTER TABLE tokens ADD COLUMN has_refused BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE faults ADD COLUMN token_id BIGINT;
CREATE INDEX faults_token_id ON faults (token_id) WHERE token_id IS NOT NULL;
