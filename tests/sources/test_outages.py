"""What a feed does when its node misbehaves: it is told, it ends nothing that need not end, and the rest comes."""

from __future__ import annotations

import ast
import asyncio
import base64
import dataclasses
import hashlib
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import serve

import monitor.sources
from decoders.core.types import TxNotice
from monitor.errors import SourceLost, SourceRefused
from monitor.sources.endpoint import Endpoint
from monitor.sources.live import logs_source
from monitor.sources.notices import FeedDown, FeedUp, SlotSeen
from monitor.sources.session import open_session
from tests.sources import said
from tests.sources.node import LIMITS, following, node, running, tcp_server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from websockets.asyncio.server import ServerConnection

    from tests.sources.node import Node, Peer, Running

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


async def up(server: Node, source: Running, slot: int = 40) -> tuple[Peer, dict[str, int]]:
    """Let the next connection come up at a slot."""
    peer = await server.peer()
    ids = await peer.acknowledge(3)
    await peer.send(said.slot(slot, ids["slotSubscribe"]))
    assert await source.get() == FeedUp("logs", slot)
    assert isinstance(await source.get(), SlotSeen)
    return peer, ids


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1011, 1012, 1013, 1014, 3000, 4001, None])
async def test_whatever_code_it_closes_with(code: int | None) -> None:
    """A node may say anything when it closes, or nothing: the feed is down for that reason, and comes back."""
    async with node() as server, running(logs_source(following(server.url))) as source:
        peer, _ = await up(server, source)
        if code is None:
            peer.connection.transport.write(b"\x88\x00")  # a close frame without a code
        else:
            await peer.connection.close(code, "for this reason")
        down = await source.get()
        assert isinstance(down, FeedDown)
        assert (str(code or 1005) in down.reason, "for this reason" in down.reason) == (True, code is not None)
        await up(server, source, 50)
        assert source.source.tally.losses == {"closed": 1}


async def test_slots_that_begin_low_again() -> None:
    """A node that was started anew counts from below: the feed is up there, and claims nothing of its former life."""
    async with node() as server, running(logs_source(following(server.url))) as source:
        peer, ids = await up(server, source, 9000)
        await peer.send(said.slot(9001, ids["slotSubscribe"], root=9001))
        assert await source.get() == SlotSeen(9001, 9000, 9001, "logs")
        await peer.connection.close()
        assert isinstance(await source.get(), FeedDown)
        peer, ids = await up(server, source, 3)
        await peer.send(said.slot(4, ids["slotSubscribe"], root=3))
        assert await source.get() == SlotSeen(4, 3, 3, "logs")
        assert (source.source.tally.head_slot, source.source.tally.root_slot) == (4, 3)


async def test_out_of_order_and_twice() -> None:
    """Late notifications keep their own slot, repeats are dropped, and a late slot moves no claim back."""
    async with node() as server, running(logs_source(following(server.url))) as source:
        peer, ids = await up(server, source)
        p, slots = ids[said.PROGRAM], ids["slotSubscribe"]
        await peer.send(said.slot(43, slots), said.slot(41, slots), said.slot(43, slots))
        await peer.send(said.logs(2, 42, p), said.logs(1, 41, p), said.logs(2, 42, p), said.logs(3, 41, p))
        await peer.send(said.slot(44, slots))
        told = [await source.get() for _ in range(7)]
        assert [(n.slot, n.arrival) for n in told if isinstance(n, TxNotice)] == [(42, 1), (41, 1), (41, 2)]
        assert (source.source.tally.repeats, source.source.tally.head_slot, source.source.tally.root_slot) == (
            1,
            44,
            12,
        )


async def test_notifications_of_nobody() -> None:
    """Unknown kinds of notifications and binary frames end nothing."""
    async with node() as server, running(logs_source(following(server.url))) as source:
        peer, ids = await up(server, source)
        await peer.send(said.notification("voteNotification", {"slot": 1}, 12), '{"jsonrpc":"2.0","method":"ping"}')
        await peer.connection.send(said.logs(1, 40, ids[said.PROGRAM]))  # as a binary frame
        notice = await source.get()
        assert isinstance(notice, TxNotice)
        assert notice.signature == said.signature(1)
        assert (source.source.tally.malformed, source.source.tally.losses) == (2, {})


async def test_a_slow_frame_is_no_silence() -> None:
    """A frame that takes longer than the stall timeout, but comes, is waited for; a trickle is not."""
    limits = dataclasses.replace(LIMITS, stall_timeout_s=0.2, max_frame_bytes=8 << 20)
    async with raw_node() as (url, writers), open_session(Endpoint(url), limits) as session:
        writer = await writers.get()
        receiving = asyncio.create_task(session.receive())
        size = 10 * (128 << 10)
        writer.write(b"\x81\x7f" + size.to_bytes(8, "big"))
        for _ in range(10):
            writer.write(b"x" * (128 << 10))
            await asyncio.sleep(0.1)  # slowness is what is tested
        raw, _ = await receiving
        assert len(raw) == size
        writer.write(b"\x81\x7f" + size.to_bytes(8, "big"))
        trickling = asyncio.create_task(trickle(writer))
        with pytest.raises(SourceLost, match="silent"):
            await session.receive()
        trickling.cancel()
        await asyncio.wait([trickling])


async def trickle(writer: asyncio.StreamWriter) -> None:
    """Send a byte now and then."""
    while True:
        writer.write(b"x")
        await asyncio.sleep(0.01)


async def test_pings_that_nobody_answers() -> None:
    """Whoever goes on telling is alive, even if it never answers a ping."""
    limits = dataclasses.replace(LIMITS, ping_interval_s=0.02)
    async with raw_node() as (url, writers), open_session(Endpoint(url), limits) as session:
        writer = await writers.get()
        for number in range(10):
            frame = said.slot(number, 1)
            writer.write(b"\x81" + bytes([len(frame)]) + frame)
            assert (await session.receive())[0] == frame
            await asyncio.sleep(0.02)  # time for pings


@asynccontextmanager
async def raw_node() -> AsyncGenerator[tuple[str, asyncio.Queue[asyncio.StreamWriter]], None]:
    """Shake hands, and leave the rest to the test: this node reads nothing and answers no ping."""
    writers: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def shake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        key = next(line.split(b": ")[1] for line in head if line.lower().startswith(b"sec-websocket-key"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())  # noqa: S324 - the protocol wants SHA-1
        writer.write(
            b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
        )
        writers.put_nowait(writer)
        try:
            await reader.read()
        except ConnectionError:
            pass  # the client has gone
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(shake, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}", writers


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (401, {}, SourceRefused),
        (402, {}, SourceRefused),
        (403, {"Retry-After": "1"}, SourceRefused),
        (404, {}, SourceRefused),
        (405, {}, SourceRefused),
        (400, {}, None),
        (408, {}, None),
        (429, {"Retry-After": "7"}, 7.0),
        (429, {"Retry-After": "soon"}, None),
        (500, {}, None),
        (502, {}, None),
        (503, {"Retry-After": "Fri, 20 Nov 2099 12:00:00 GMT"}, 3600.0),
        (503, {"Retry-After": "0"}, 0.0),
    ],
)
async def test_statuses(status: int, headers: dict[str, str], expected: type[Exception] | float | None) -> None:
    """What a human has to mend refuses the source, with the mend; all else is tried again, when the node wishes it."""
    async with node() as server:
        server.statuses = [(status, headers)]
        with pytest.raises((SourceLost, SourceRefused), match=f"HTTP {status}") as caught:
            async with open_session(Endpoint(server.url), LIMITS):
                pass
    error = caught.value
    assert "SECRET" not in str(error)
    if isinstance(error, SourceLost):
        assert (error.kind, error.retry_after_s) == ("http", expected)
    else:
        assert (type(error), bool(error.mend)) == (expected, True)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return a server's context with a certificate that nobody signed but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made = ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost", "-nodes"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", *made], cwd=folder, check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def test_a_bad_certificate(certificate: ssl.SSLContext) -> None:
    """It may be renewed while we try, so it is a loss: with a kind of its own, its cause and what to look at."""

    async def greet(_: ServerConnection) -> None:
        pass

    async with serve(greet, "127.0.0.1", 0, ssl=certificate, close_timeout=0.2) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(SourceLost, match="self-signed certificate") as caught:
            async with open_session(Endpoint(f"wss://localhost:{port}/SECRET"), LIMITS):
                pass
    assert caught.value.kind == "tls"
    assert "certificate" in (caught.value.mend or "")
    assert "SECRET" not in str(caught.value)


async def test_tls_where_there_is_none() -> None:
    """An address that says wss, of a server without TLS, is told as such."""
    async with tcp_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        with pytest.raises(SourceLost, match="cannot be trusted") as caught:
            async with open_session(Endpoint(f"wss://127.0.0.1:{port}/SECRET"), LIMITS):
                pass
    assert caught.value.kind == "tls"


def test_only_monotonic_clocks_decide() -> None:
    """
    No wait, timeout or silence is measured by a clock that can be set.

    The time of day is read for two things alone: a date in Retry-After (bounded), and the header of a recording.
    """
    readers = set()
    for path in Path(monitor.sources.__file__).parent.glob("*.py"):
        for found in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(found, ast.Attribute) and found.attr in {"now", "utcnow", "today", "time_ns", "localtime"}:
                readers.add(path.name)
            if isinstance(found, ast.Attribute) and found.attr == "time" and ast.unparse(found.value) == "time":
                readers.add(path.name)
    assert readers == {"client.py", "connection.py", "recorder.py"}
