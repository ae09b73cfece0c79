"""
Every exception of the daemon, with the exit code that it ends the process with.

    MonitorError                 70  a bug, unless a kind below says otherwise
    ├── UsageError               64  the command line makes no sense
    ├── BadInput                 65  a file or text given by the user is not what it should be
    ├── SourceRefused            69  a provider will never serve us like this (401, 403, unknown method)
    ├── NoSourceLeft             69  every source was refused or ran dry
    ├── Transient                75  worth another try; `retry_after_s` is the other side's own wish
    │   ├── SourceLost               a connection to a node broke, or went silent
    │   ├── RequestFailed            one RPC request failed, the next may succeed
    │   ├── StoreUnavailable         PostgreSQL is away
    │   ├── RedisUnavailable         Redis is away
    │   └── UpkeepFailed             the database refused what keeps it in shape
    ├── JournalBroken            74  the disk under the journal fails (full is no failure: then it waits)
    ├── DrainTooSlow             75  the stop deadline passed before the last batch was committed
    ├── AlreadyRunning           75  another daemon holds the database or the state directory
    │   └── LockLost                 it took the database over while our connection was gone
    ├── StoreWentBack            75  the database lost what it had committed: a start begins from what it holds
    ├── EmbeddedFailed           75  a server of the embedded default does not start
    ├── ConfigError              78  configuration or an IDL: a human has to mend it, a restart will not
    ├── SchemaMismatch           78  the database's schema is not the one that this program writes
    └── Closed                   70  a channel was closed (stages end on it; outside of them it is a bug)

The codes are those of sysexits.h; 78 is the one that the service manager does not start again.
"""

# ruff: noqa: N818  the names say what happened, the tree above that they are errors

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_BUG = 70


class MonitorError(Exception):
    """Base of all our errors: `str()` names the cause in one line, `mend` says what to do about it (None: unknown)."""

    exit_code: ClassVar[int] = EXIT_BUG

    def __init__(self, cause: str, *, mend: str | None = None) -> None:
        super().__init__(cause)
        self.mend = mend


class UsageError(MonitorError):
    """The command line makes no sense."""

    exit_code = 64


class BadInput(MonitorError):
    """A file or text that the user gave is not what it should be."""

    exit_code = 65


class SourceRefused(MonitorError):
    """A provider will never serve us like this; the source ends."""

    exit_code = 69


class NoSourceLeft(MonitorError):
    """Every source was refused or ran dry."""

    exit_code = 69


class Transient(MonitorError):
    """Worth another try. `retry_after_s`: how long the other side asked us to wait (None: it did not say)."""

    exit_code = 75

    def __init__(self, cause: str, *, mend: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(cause, mend=mend)
        self.retry_after_s = retry_after_s


class SourceLost(Transient):
    """A connection to a node broke, or went silent; `kind` is one word for metrics, such as "silent" or "closed"."""

    def __init__(
        self, cause: str, *, mend: str | None = None, retry_after_s: float | None = None, kind: str = "lost"
    ) -> None:
        super().__init__(cause, mend=mend, retry_after_s=retry_after_s)
        self.kind = kind


class RequestFailed(Transient):
    """One RPC request failed; `code` is the JSON-RPC error code or HTTP status (None: no answer at all)."""

    def __init__(
        self, cause: str, *, mend: str | None = None, retry_after_s: float | None = None, code: int | None = None
    ) -> None:
        super().__init__(cause, mend=mend, retry_after_s=retry_after_s)
        self.code = code


class StoreUnavailable(Transient):
    """PostgreSQL is away."""


class RedisUnavailable(Transient):
    """Redis is away."""


class UpkeepFailed(Transient):
    """The database refused what keeps it in shape; rows are not affected, and it is tried again."""


class JournalBroken(MonitorError):
    """The disk under the journal fails, otherwise than by being full."""

    exit_code = 74


class DrainTooSlow(MonitorError):
    """The stop deadline passed before the last batch was committed."""

    exit_code = 75


class AlreadyRunning(MonitorError):
    """Another daemon holds the database or the state directory."""

    exit_code = 75


class LockLost(AlreadyRunning):
    """Another process took the database over while our connection was gone: what we know of it is out of date."""


class StoreWentBack(MonitorError):
    """The database lost what it had committed; what we know of it is out of date."""

    exit_code = 75


class EmbeddedFailed(MonitorError):
    """A server of the embedded default does not start."""

    exit_code = 75


class ConfigError(MonitorError):
    """Configuration, or an IDL, that a human has to mend."""

    exit_code = 78


class SchemaMismatch(MonitorError):
    """The database's schema is not the one that this program writes."""

    exit_code = 78


class Closed(MonitorError):
    """A channel was closed (and, for its reader, is empty)."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the plain exceptions inside (nested) exception groups, or `error` itself."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def exit_code(error: BaseException) -> int:
    """
    Return the exit code for an error that ends the process.

    Of a group the gravest counts: a bug (anything that is not ours) over all, then configuration (never restarted),
    then the highest code.
    """
    codes = {leaf.exit_code if isinstance(leaf, MonitorError) else EXIT_BUG for leaf in leaves(error)}
    return EXIT_BUG if EXIT_BUG in codes else max(codes)
