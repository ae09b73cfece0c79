"""The announce stage: launches and graduations into a Redis stream, trades to whoever listens to a mint."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from decoders.core.types import Trade
from monitor.errors import Closed, ConfigError, RedisUnavailable
from monitor.present import fact_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.types import Fact
    from monitor.channel import Channel
    from monitor.pipeline.gate import Gate
    from monitor.pipeline.protocols import Announcer

STREAM = "launches"
_encode = msgspec.json.Encoder().encode
_MOST_AT_ONCE = 500
log = structlog.get_logger()

# One call per batch: a pipeline of single commands costs ten times the client's time.
_SCRIPT = """
local at = 2
for _ = 1, tonumber(ARGV[1]) do
  local kind = ARGV[at]
  if kind == 'x' then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[at + 1], '*',
      'fact', ARGV[at + 2], 'identity', ARGV[at + 3], 'json', ARGV[at + 4])
    at = at + 5
  else
    redis.call('PUBLISH', ARGV[at + 1], ARGV[at + 2])
    at = at + 3
  end
end
return 0
"""


def trades_channel(mint: str) -> str:
    """Return the pub/sub channel of a mint's trades."""
    return f"trades:{mint}"


def connect(url: str, timeout_s: float) -> Redis:
    """
    Return a client of a Redis that is given up after `timeout_s`; close it when done.

    Raises:
        ConfigError: If the address has an option that nobody knows.
    """
    # No second try: one whose answer was lost would tell everything twice.
    once = Retry(NoBackoff(), 0)
    client = Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=once)
    check_options(client)
    return client


def check_options(client: Redis) -> None:
    """
    Make sure that a client can connect at all: it looks at the options of its address only then.

    Raises:
        ConfigError: If there is one that it does not know.
    """
    try:
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py has no type there
    except TypeError as error:
        unknown = str(error).rpartition("argument ")[2]
        raise ConfigError(f"redis.url has an option that is not known: {unknown}", mend="leave it out") from None


class RedisAnnouncer:
    """Tells facts through one Redis."""

    def __init__(self, redis: Redis, stream_max_len: int) -> None:
        """Tell through `redis`; the stream keeps about `stream_max_len` entries."""
        self._script = redis.register_script(_SCRIPT)
        self._max_len = stream_max_len

    async def announce(self, facts: Sequence[Fact]) -> None:
        """
        Tell facts, in order.

        Raises:
            RedisUnavailable: If Redis is away, slow or refuses; the facts are not told.
        """
        args: list[bytes | str | int] = [len(facts)]
        for fact in facts:
            text = _encode(fact_json(fact, raw=False))  # whoever needs the raw event finds it by its identity
            if isinstance(fact, Trade):
                args += ["p", trades_channel(str(fact.mint)), text]
            else:
                args += ["x", self._max_len, fact.kind, _encode(identity(fact)), text]
        try:
            await self._script(keys=[STREAM], args=args)
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailable(f"Redis: {error}") from error
        except RuntimeError as error:
            # uvloop's word for writing to a connection that was reset, which redis-py does not know.
            if "handler is closed" not in str(error):
                raise
            raise RedisUnavailable("Redis: the connection is closed") from error


def identity(fact: Fact) -> tuple[int | None, str, str, str, int, str]:
    """Return what tells a fact from every other: time, signature, program, event, nth and kind."""
    return fact.block_time, fact.signature, fact.program, fact.event, fact.nth, fact.kind


async def announce(live: Channel[Fact], announcer: Announcer, dropped: Drops, gate: Gate | None = None) -> None:
    """
    Run until `live` is closed and empty. What `gate` does not know to be stored is not told.

    What cannot be told is dropped and counted, also what is left when this is cancelled: live is for who watches now.
    """
    while True:
        try:
            facts = [await live.get(), *live.get_nowait_all(_MOST_AT_ONCE - 1)]
        except Closed:
            return
        facts = [fact for fact in facts if gate is None or gate.passes(fact)]
        if not facts:
            await asyncio.sleep(0)
            continue
        try:
            await announcer.announce(facts)
        except RedisUnavailable as error:
            dropped.count += len(facts)
            if dropped.because is None:
                log.warning("announcements_dropped", error=str(error))
            dropped.because = str(error)
        except asyncio.CancelledError:
            dropped.count += len(facts) + len(live)
            raise
        else:
            if dropped.because is not None:
                log.info("announcements_told_again", dropped=dropped.count)
            dropped.because = None
        await asyncio.sleep(0)


class Drops:
    """How many announcements were not told, and `because` of what the last was not (None: it was told)."""

    def __init__(self) -> None:
        self.count = 0
        self.because: str | None = None


async def discard(live: Channel[Fact]) -> None:
    """Take what is announced to nobody: there is no Redis."""
    while True:
        try:
            await live.get()
        except Closed:
            return
        live.get_nowait_all(_MOST_AT_ONCE)
        await asyncio.sleep(0)
