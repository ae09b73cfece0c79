-- The long part of 0006: it reads whole tables. Nobody writes meanwhile (the old daemon is out, the new one begins when
-- all steps are applied), and who reads is not held up.

-- Tells in which pages a slot is (rows come nearly in that order) at a thousandth of the size of a btree.
CREATE INDEX transactions_slot ON transactions USING brin (slot) WITH (pages_per_range = 32, autosummarize = on);

-- Few rows are void: counting them must not read all.
CREATE INDEX transactions_voided ON transactions (voided_at) WHERE voided_at IS NOT NULL;

INSERT INTO snapshots SELECT 'mint', id, jsonb_strip_nulls(to_jsonb(m)) FROM mints m;
INSERT INTO snapshots SELECT 'token', id, jsonb_strip_nulls(to_jsonb(t)) FROM tokens t;
INSERT INTO snapshots SELECT 'pool', id, jsonb_strip_nulls(to_jsonb(p)) FROM pools p;

-- Whether a mint is a quote somewhere.
CREATE INDEX pools_quote_id ON pools (quote_id);

CREATE INDEX tails_slot ON tails (slot);
CREATE INDEX faults_slot ON faults (slot);
