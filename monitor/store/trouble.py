"""PostgreSQL's errors in our own words, translated once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg

from monitor.errors import ConfigError, SchemaMismatch, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.errors import MonitorError

# PostgreSQL's manual, appendix A. What is in none of these is a bug, XX000 ("cache lookup failed") and corruption too.
_TRANSIENT_CLASSES = ("08", "53", "57")
"""Connection; resources (disk, memory, connections); operator intervention (shutdown, statement timeout)."""
_TRANSIENT_STATES = (
    *("40001", "40003", "40P01", "55P03"),  # serialization, unknown completion, deadlock, lock not available
    *("25006", "25P03", "25P04"),  # read-only (a standby, or about to be one), idle and transaction timeouts
    *("58000", "58030"),  # system and I/O errors; 58P01 (a file of the server is missing) does not pass by itself
)
_PLAIN_WORDS = {
    "53100": "its disk is full: nothing is lost, make room",
    "53200": "it is out of memory",
    "53300": "it has no connection left: raise max_connections or close some",
    "25006": "it is read-only (a standby?)",
    "57014": "a statement took too long",
    "57P01": "it is shut down",
    "57P03": "it is starting or stopping",
}
_FOREIGN_SCHEMA_STATES = ("42P01", "42703", "42883", "42804", "42809", "42P10")
"""Something that our statements name is not there, or is of another type."""
_NOT_LET_IN = {
    "28": "check user and password in the database URL",
    "3D": "create the database, or correct its name in the URL",
    "42501": "grant the rights that docs/SCHEMA.md lists to the user in the database URL",
}


def translate(error: BaseException) -> MonitorError | None:
    """Return our error for one of asyncpg or the network, or None where it is no trouble with the server."""
    if isinstance(error, asyncpg.InvalidCachedStatementError | asyncpg.OutdatedSchemaCacheError):
        # Somebody changed a table under our statements; the next connection looks at the schema again.
        return StoreUnavailable(f"PostgreSQL: a table was changed while we used it: {error}")
    if isinstance(error, asyncpg.PostgresError):
        return _translate_state(error, error.sqlstate or "")
    if isinstance(error, OSError):  # TimeoutError is one, without a text
        return StoreUnavailable(f"PostgreSQL does not answer: {str(error) or type(error).__name__}")
    if isinstance(error, RuntimeError) and "handler is closed" in str(error):
        # uvloop's word for writing to a connection that was reset a moment ago.
        return StoreUnavailable("the connection to PostgreSQL is closed")
    # asyncpg trips over the server's last words (57P01) if they come between two statements.
    lost_track = isinstance(error, asyncpg.InternalClientError)
    if lost_track or (isinstance(error, asyncpg.InterfaceError) and "closed" in str(error)):
        return StoreUnavailable("the connection to PostgreSQL is closed")
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raise our errors in place of asyncpg's inside the block; what is a bug passes as it is."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, RuntimeError) as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


REFUSALS = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.InterfaceError, OverflowError)


def is_refusal(error: BaseException) -> bool:
    """Tell whether one of REFUSALS speaks of the data of some row; asyncpg finds some of these before the server."""
    return not isinstance(error, asyncpg.InterfaceError) or isinstance(error, ValueError)


def _translate_state(error: asyncpg.PostgresError, state: str) -> MonitorError | None:
    if state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES:
        why = _PLAIN_WORDS.get(state, "it cannot serve us now")
        return StoreUnavailable(f"PostgreSQL: {why}: {error} ({state})")
    for prefix, mend in _NOT_LET_IN.items():
        if state.startswith(prefix):
            return ConfigError(f"PostgreSQL does not let us in: {error}", mend=mend)
    if state in _FOREIGN_SCHEMA_STATES:
        return SchemaMismatch(
            f"the database's schema is not the one that this program writes: {error}",
            mend="run `launch-monitor migrate`, or start the launch-monitor that the database was migrated for",
        )
    return None
