"""Facts in PostgreSQL: written in idempotent batches, read back for start, status and people."""
