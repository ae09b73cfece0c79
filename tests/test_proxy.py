"""The proxy breaks wires as it is told, and passes everything on until then."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_SILENT_S = 0.1  # so long nothing must come


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # cut on purpose
    finally:
        writer.close()


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Return a proxy before a server that says back what it hears."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    async with server, Proxy("127.0.0.1", server.sockets[0].getsockname()[1]) as found:
        yield found


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Pair]:
    """Connect through the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said_back(pair: Pair, data: bytes) -> bytes:
    """Say something and return as much as comes back."""
    pair[1].write(data)
    await pair[1].drain()
    return await asyncio.wait_for(pair[0].readexactly(len(data)), 5)


async def test_bytes_and_ends_go_through(proxy: Proxy) -> None:
    """What is said arrives, in both directions and whole, and so does the end of it."""
    data = bytes(range(256)) * 4_000
    async with connected(proxy) as pair:
        assert await said_back(pair, data) == data
        assert (proxy.connections, proxy.accepted) == (1, 1)
        pair[1].write_eof()
        assert await asyncio.wait_for(pair[0].read(), 5) == b""


async def test_cut_resets(proxy: Proxy) -> None:
    """A cut is a reset for the client, no polite end; the next connection stands."""
    async with connected(proxy) as pair:
        await said_back(pair, b"x")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(pair[0].read(), 5)
    async with connected(proxy) as pair:
        assert await said_back(pair, b"again") == b"again"
        assert proxy.accepted == 2


async def test_refuse_and_accept(proxy: Proxy) -> None:
    """A refusing proxy has no port, and connections that stand go on; afterwards the port is the same."""
    port = proxy.port
    async with connected(proxy) as pair:
        await said_back(pair, b"x")
        await proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        assert await said_back(pair, b"y") == b"y"
    await proxy.accept()
    assert proxy.port == port
    async with connected(proxy) as pair:
        assert await said_back(pair, b"z") == b"z"


async def test_stall_is_silence(proxy: Proxy) -> None:
    """A stalled wire says nothing, no end either, and then goes on with what waited."""
    async with connected(proxy) as pair:
        await said_back(pair, b"x")
        proxy.stall()
        pair[1].write(b"late")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pair[0].read(1), _SILENT_S)
        proxy.resume()
        assert await asyncio.wait_for(pair[0].readexactly(4), 5) == b"late"


async def test_a_stalled_wire_can_be_cut(proxy: Proxy) -> None:
    """A half-open connection ends in a reset once the proxy cuts it."""
    async with connected(proxy) as pair:
        await said_back(pair, b"x")
        proxy.stall()
        pair[1].write(b"late")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(pair[0].read(), 5)


async def test_throttle(proxy: Proxy) -> None:
    """A throttled wire takes its time: both ways, so that an echo is as slow as the slower one."""
    async with connected(proxy) as pair:
        proxy.throttle(100_000)
        started = time.monotonic()
        assert await said_back(pair, bytes(20_000)) == bytes(20_000)
        assert time.monotonic() - started > 0.15
        proxy.throttle(None)
        assert await said_back(pair, bytes(1_000_000)) == bytes(1_000_000)


async def test_cut_after(proxy: Proxy) -> None:
    """After so many bytes, of both directions together, the wire breaks."""
    async with connected(proxy) as pair:
        proxy.cut_after(2_500)
        assert await said_back(pair, bytes(1_000)) == bytes(1_000)
        pair[1].write(bytes(1_000))
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(pair[0].readexactly(1_000), 5)
    async with connected(proxy) as pair:
        assert await said_back(pair, bytes(9_000)) == bytes(9_000)


async def test_an_absent_server_is_a_reset() -> None:
    """Where no server stands behind the proxy, the client is cut off."""
    async with await asyncio.start_server(_echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
    async with Proxy("127.0.0.1", port) as proxy, connected(proxy) as pair:
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(pair[0].read(), 5)
