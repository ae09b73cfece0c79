"""The lock that one writer of a database holds."""

import hashlib

WRITER_KEY = int.from_bytes(hashlib.sha256(b"launch-monitor writer").digest()[:8], signed=True)
WRITER_HOLDER = """
SELECT pid FROM pg_locks
 WHERE locktype = 'advisory' AND granted AND objsubid = 1
   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (classid::bigint << 32 | objid::bigint) = $1
"""
"""Asks for the server process that holds that lock, as SQL."""
