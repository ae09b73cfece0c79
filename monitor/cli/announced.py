"""What a running daemon announces in Redis, as it happens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import msgspec
import redis.asyncio as redis_client
import redis.exceptions as redis_errors

from monitor.channel import Channel
from monitor.cli.say import called
from monitor.config import redact_url
from monitor.errors import RedisUnavailable
from monitor.pipeline.announce import STREAM, check_options, trades_channel

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator

Shown = dict[str, Any]

# Entries of the stream that are read at the start: all that it keeps, unless it is configured to keep more.
LEARNED = 10_000
_WAITING = 10_000
_BLOCK_MS = 5_000
_AT_ONCE = 1_000
_CONNECT_TIMEOUT_S = 5.0
_ERRORS = (redis_errors.RedisError, OSError)


class Audience(Protocol):
    """Who is shown things."""

    def learn(self, fact: Shown, /) -> None:
        """Take note of something without showing it."""

    def show(self, fact: Shown, /) -> None:
        """Show it."""


class Wanted(NamedTuple):
    """What to listen to: one mint's trades or (None) those of all, and whether trades and stream are wanted at all."""

    mint: str | None = None
    trades: bool = True
    stream: bool = True


async def connect(url: str) -> redis_client.Redis:
    """
    Connect to the daemon's Redis; close it when done.

    Raises:
        RedisUnavailable: If it does not answer.
    """
    client = redis_client.from_url(
        url, socket_connect_timeout=_CONNECT_TIMEOUT_S, socket_timeout=None, socket_keepalive=True
    )
    check_options(client)
    try:
        await client.ping()
    except _ERRORS as error:
        await client.aclose()
        raise _unavailable(url, error) from error
    return client


async def catch_up(client: redis_client.Redis, last: int, audience: Audience) -> None:
    """
    Show the `last` entries of the stream, and learn those before them: trades do not name their tokens.

    Raises:
        RedisUnavailable: If Redis went away.
    """
    known = await latest(client, LEARNED)
    for number, shown in enumerate(known):
        (audience.learn if number < len(known) - last else audience.show)(shown)


async def latest(client: redis_client.Redis, count: int) -> list[Shown]:
    """
    Return the newest entries of the stream, oldest first.

    Raises:
        RedisUnavailable: If Redis went away.
    """
    found: list[Shown] = []
    last = "+"
    try:
        while len(found) < count:
            entries = _entries(await client.xrevrange(STREAM, max=last, count=min(count - len(found), _AT_ONCE)))
            found += list(_read(fields.get(b"json") for _, fields in entries))
            if len(entries) < _AT_ONCE:
                break
            last = f"({entries[-1][0].decode()}"
    except _ERRORS as error:
        raise _unavailable("Redis", error) from error
    return found[::-1]


async def listen(client: redis_client.Redis, wanted: Wanted, show: Callable[[Shown], None]) -> None:
    """
    Show what is announced from now on, for ever. Of more than can be shown the oldest are dropped.

    Raises:
        RedisUnavailable: If Redis goes away (in a group).
    """
    waiting: Channel[Shown] = Channel(_WAITING, "tail")
    async with asyncio.TaskGroup() as tasks:
        if wanted.stream:
            tasks.create_task(_told(_stream(client, waiting)))
        if wanted.trades:
            tasks.create_task(_told(_trades(client, wanted.mint, waiting)))
        while True:
            show(await waiting.get())
            for shown in waiting.get_nowait_all(_AT_ONCE):
                show(shown)
            await asyncio.sleep(0)


async def _told(work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except _ERRORS as error:
        raise _unavailable("Redis", error) from error


async def _stream(client: redis_client.Redis, waiting: Channel[Shown]) -> None:
    newest = _entries(await client.xrevrange(STREAM, count=1))
    last = newest[0][0] if newest else b"0"
    while True:
        entries = _entries_read(await client.xread({STREAM: last}, count=_AT_ONCE, block=_BLOCK_MS))
        last = entries[-1][0] if entries else last
        for shown in _read(fields.get(b"json") for _, fields in entries):
            waiting.offer(shown)


async def _trades(client: redis_client.Redis, mint: str | None, waiting: Channel[Shown]) -> None:
    async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
        if mint is None:
            await pubsub.psubscribe(trades_channel("*"))
        else:
            await pubsub.subscribe(trades_channel(mint))
        async for message in pubsub.listen():
            for shown in _read([message["data"]]):
                waiting.offer(shown)


def _entries(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Return the entries of a stream as they are here, with bytes decoded nowhere (the stubs know every other way)."""
    return cast("list[tuple[bytes, dict[bytes, bytes]]]", answer)


def _entries_read(answer: Any) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Return the entries of the one stream that was read: in RESP 3 a dict from stream to entries, in RESP 2 a list."""
    found = answer.values() if isinstance(answer, dict) else [entries for _, entries in answer or ()]
    return [entry for entries in found for entry in _entries(entries)]


def _unavailable(url: str, error: Exception) -> RedisUnavailable:
    where = redact_url(url) if "://" in url else url
    return RedisUnavailable(
        f"{where}: {error}",
        mend=f"start the daemon ({called()} run), or follow a node itself (--endpoint mainnet)",
    )


def _read(texts: Iterable[bytes | None]) -> Iterator[Shown]:
    """Yield the announcements among texts; others may write into this Redis too."""
    for text in texts:
        try:
            shown = msgspec.json.decode(text or b"", type=Shown)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if "fact" in shown and "venue" in shown:
            yield shown
