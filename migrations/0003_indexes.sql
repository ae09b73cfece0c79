-- Led by time: on top of 10 million rows such a key takes twice the insert rate of one led by the signature.

ALTER TABLE transactions ADD PRIMARY KEY (block_time, signature, venue, event, nth);
CREATE INDEX transactions_token_id ON transactions (token_id, block_time DESC);
CREATE INDEX transactions_signature ON transactions USING hash (signature);
