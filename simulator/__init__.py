"""A stand-in Solana node: a market with an exact ledger, JSON-RPC and PubSub, faults on demand."""
