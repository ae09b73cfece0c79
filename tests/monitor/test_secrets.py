"""No secret of an address is ever written: not in errors, tracebacks, logs at debug level, metrics, nor on a screen."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import io
import json
import logging
import os
import sys
import traceback
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from monitor import log
from monitor.config import load
from monitor.errors import MonitorError
from monitor.pipeline.announce import RedisAnnouncer, connect
from monitor.sources import rpc
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from monitor.sources.session import Limits, open_session
from monitor.store.store import Store
from tests.monitor.daemon import idle
from tests.pipeline.facts import trade
from tests.sources.node import node

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

USER, PASSWORD = "hidden-user-0123456789", "hidden-password"
PATH, QUERY, HEADER = "hidden-path-0123456789abcdef", "hidden-query-value", "hidden-header-value"
BASIC = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
QUICK = Limits(open_timeout_s=0.3, acknowledge_timeout_s=0.3, stall_timeout_s=0.3, close_timeout_s=0.1)
# What a node may say of us in its own words, key and all.
ECHO = f"invalid api key {QUERY} of {USER}:{PASSWORD} for /{PATH} with {HEADER}"


def secret_url(scheme: str, at: str) -> str:
    """Return an address with a secret in each of its places; Redis knows what may stand in its query."""
    if scheme.startswith("redis"):
        return f"{scheme}://{USER}:{PASSWORD}@{at}/{PATH}?client_name={QUERY}"
    return f"{scheme}://{USER}:{PASSWORD}@{at}/{PATH}?api-key={QUERY}"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Return where everything is logged, at the most talkative level, that of libraries too."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    log.setup("debug", "json", stream)
    root.setLevel(logging.DEBUG)
    logging.getLogger("websockets.server").disabled = True  # that is the node's side, and what it hears of us
    yield stream
    logging.getLogger("websockets.server").disabled = False
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect garbage while nobody minds: asyncio leaves a socket whose TLS handshake broke to the collector."""
    yield
    gc.collect()


def clean(text: str) -> None:
    """Fail if a secret stands in a text."""
    for secret in ("hidden-", BASIC):
        at = text.find(secret)
        assert at == -1, f"…{text[max(0, at - 200) : at + 80]}…"


@asynccontextmanager
async def saying(answer: bytes | None) -> AsyncGenerator[str]:
    """Serve at HOST:PORT: read something, answer with these bytes (None: nothing ever) and close."""
    writers: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.add(writer)
        with contextlib.suppress(ConnectionError):
            if await reader.read(65_536) and answer is not None:
                writer.write(answer)
                await writer.drain()
                writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        try:
            yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            for writer in writers:
                writer.transport.abort()


def http(status: str, body: str) -> bytes:
    """Return an HTTP answer."""
    return f"HTTP/1.1 {status}\r\nX-Echo: {ECHO}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


RPC_ERROR = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": ECHO}})
TROUBLES: dict[str, bytes | None] = {
    "silent": None,
    "garbage": f"{ECHO}\r\n\r\n".encode(),
    "401": http(f"401 {ECHO}", ECHO),
    "429": http("429 Too Many", ECHO),
    "500": http(f"500 {ECHO}", ECHO),
    "error": http("200 OK", RPC_ERROR),
    "redirect": http(f"302 Found\r\nLocation: https://elsewhere.invalid/{PATH}?api-key={QUERY}", ""),
    "postgres_error": b"E\0\0\0\x2aSFATAL\0C28P01\0Mpassword is not right\0\0",
    "redis_error": b"-WRONGPASS invalid username-password pair\r\n" * 4,
}


@asynccontextmanager
async def trouble(name: str) -> AsyncIterator[str]:
    """Yield HOST:PORT of a server that is in this trouble."""
    if name == "refused":
        async with saying(None) as at:
            pass
        yield at
    elif name == "dns":
        yield "no-such-host.invalid:1"
    else:
        async with saying(TROUBLES[name]) as at:
            yield at


async def ask_ws(url: str, _: list[RpcClient]) -> None:
    """Subscribe at a node."""
    async with open_session(Endpoint(url, headers={"X-Key": HEADER}), QUICK) as session:
        await session.subscribe({"slots": rpc.slot_subscribe()})


async def ask_http(url: str, clients: list[RpcClient]) -> None:
    """Ask a node."""
    client = RpcClient(Endpoint(url, headers={"X-Key": HEADER}), ClientLimits(timeout_s=0.3))
    clients.append(client)
    async with client:
        await client.call(rpc.get_slot("confirmed"))


async def ask_database(url: str, _: list[RpcClient]) -> None:
    """Ask a database."""
    async with await Store.open(url, connect_timeout_s=0.3, command_timeout_s=0.3) as store:
        await store.check()


async def ask_redis(url: str, _: list[RpcClient]) -> None:
    """Announce in Redis."""
    async with connect(url, 0.3) as client:
        await RedisAnnouncer(client, 10).announce([trade()])


ASKED: dict[str, Callable[[str, list[RpcClient]], Awaitable[None]]] = {
    "ws": ask_ws,
    "wss": ask_ws,
    "http": ask_http,
    "https": ask_http,
    "postgresql": ask_database,
    "redis": ask_redis,
    "rediss": ask_redis,
}


@pytest.mark.parametrize("does", ["refuse", "close"])
async def test_a_node_that_repeats_our_key_is_not_quoted(does: str, written: io.StringIO) -> None:
    """It may say so in the refusal of a subscription, and in the reason of a close."""
    async with node() as subject:
        at = subject.url.removeprefix("ws://").partition("/")[0]
        asking = asyncio.create_task(ask_ws(secret_url("ws", at), []))
        peer = await subject.peer()
        request = await peer.request()
        if does == "refuse":
            await peer.send(RPC_ERROR.replace('"id": 1', f'"id": {request["id"]}'))
        else:
            await peer.connection.close(1008, ECHO[:120])
        with pytest.raises(MonitorError) as caught:
            await asking
    assert "***" in str(caught.value)
    clean(f"{caught.value} {caught.value!r}")
    clean(written.getvalue())


def metrics_of(clients: list[RpcClient], reason: str) -> str:
    """Return the metrics page of a daemon with these clients, and what its checks say."""
    meters, _, health = idle()
    for client in clients:
        meters.rpc(client.tally)
    health.trouble(reason)
    registry = CollectorRegistry()
    registry.register(meters)
    return generate_latest(registry).decode()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("name", ["refused", "dns", *TROUBLES])
@pytest.mark.parametrize("scheme", ASKED)
async def test_no_error_holds_a_secret(scheme: str, name: str, written: io.StringIO) -> None:
    """Whatever goes wrong, and whatever the other side says: not in the error, its traceback, the log, or metrics."""
    clients: list[RpcClient] = []
    async with trouble(name) as at:
        with pytest.raises(MonitorError) as caught:
            await asyncio.wait_for(ASKED[scheme](secret_url(scheme, at), clients), 10)
    error = caught.value
    try:
        raise error
    except MonitorError:
        structlog.get_logger().exception("provoked", error=str(error), mend=error.mend)
    clean(f"{error} {error!r} {error.mend}")
    clean("".join(traceback.format_exception(error)))
    clean(written.getvalue())
    clean(metrics_of(clients, str(error)))


def test_the_configuration_shows_no_secret(tmp_path: Path) -> None:
    """Neither as TOML nor as its representation, more feeds and history included."""
    config = load(configuration(tmp_path, "127.0.0.1:1"), {})
    assert "hidden-query" in str(config.node.ws_url), "it is there"
    clean(config.show())
    clean(repr(config))
    clean(str(config))


def configuration(folder: Path, at: str) -> Path:
    """Return a configuration file in which every address holds secrets."""
    lines = [
        "start = 'now'",
        "[node]",
        f"ws_url = '{secret_url('ws', at)}'",
        f"http_url = '{secret_url('http', at)}'",
        "[database]",
        "connect_timeout_s = 0.5",
        f"url = '{secret_url('postgresql', at)}'",
        "[redis]",
        f"url = '{secret_url('redis', at)}'",
        "[history]",
        f"http_url = '{secret_url('http', at)}'",
        "[log]",
        "level = 'debug'",
        "[metrics]",
        "listen = ''",
        "[[feeds]]",
        "kind = 'blocks'",
        f"ws_url = '{secret_url('wss', at)}'",
        f"http_url = '{secret_url('https', at)}'",
    ]
    path = folder / "launch-monitor.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("command", ["check-config --connect", "ingest", "migrate", "status", "holes", "tail"])
@pytest.mark.parametrize("name", ["refused", "401"])
async def test_no_command_prints_a_secret(tmp_path: Path, command: str, name: str) -> None:
    """On neither output, whatever it ends with."""
    async with trouble(name) as at:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "monitor", *command.split(), "--config", str(configuration(tmp_path, at)),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "STATE_DIRECTORY": str(tmp_path)},
        )  # fmt: skip
        assert process.stdout is not None
        said: Any = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(8):
                while part := await process.stdout.read(65_536):
                    said += part
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        said += await process.stdout.read()
        await asyncio.wait_for(process.wait(), 20)
    clean(said.decode())
