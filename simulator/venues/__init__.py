"""The programs of the market: each moves balances by its own rules and says so in its own events."""
