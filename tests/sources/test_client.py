"""Requests to a node over HTTP, and every way in which they fail."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
import struct
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest
import uvloop

from monitor.errors import RequestFailed, SourceRefused
from monitor.sources import rpc
from monitor.sources.client import ClientLimits, RpcClient
from monitor.sources.endpoint import Endpoint
from tests.sources import said
from tests.sources.http_node import Reply, http_node

if TYPE_CHECKING:
    from tests.sources.http_node import HttpNode

LIMITS = ClientLimits(rate_per_s=10_000, concurrency=4, timeout_s=5)
HEALTH = rpc.Request("getHealth")


def client(server: HttpNode, **changes: float) -> RpcClient:
    """Return a client with the usual limits, some changed."""
    return RpcClient(Endpoint(server.url), dataclasses.replace(LIMITS, **changes))  # type: ignore[arg-type]  # ints too


async def failure(subject: RpcClient, request: rpc.Request | None = None) -> RequestFailed:
    """Return how a request fails."""
    with pytest.raises(RequestFailed) as caught:
        await subject.call(request or HEALTH)
    assert "SECRET" not in str(caught.value)
    return caught.value


async def test_results_are_raw() -> None:
    """The result comes as JSON text with the whole body, over one connection kept alive."""
    async with http_node() as server, client(server) as subject:
        server.results["getSlot"] = lambda params: {"asked": params}
        answers = [await subject.call(rpc.get_slot("finalized")) for _ in range(3)]
        answer = answers[-1]
        assert bytes(answer.result) == b'{"asked":[{"commitment":"finalized"}]}'
        assert answer.body == said.result({"asked": [{"commitment": "finalized"}]}, 3)
        assert server.connections == 1
        assert server.headers[0]["path"] == "/key/SECRET"
        assert subject.tally.requests == {("getSlot", "ok"): 3}
        assert subject.tally.seconds["getSlot"] > 0


async def test_null_is_a_result() -> None:
    """What a node does not have is null, no error."""
    async with http_node() as server, client(server) as subject:
        server.results["getHealth"] = lambda _: None
        assert bytes((await subject.call(HEALTH)).result) == b"null"


async def test_answers_of_32_mib_pass() -> None:
    """Whole blocks fit."""
    async with http_node() as server, client(server) as subject:
        server.results["getHealth"] = lambda _: "x" * (32 << 20)
        assert len((await subject.call(HEALTH)).body) > 32 << 20


def test_connections_that_are_reset_at_once() -> None:
    """Whatever the event loop makes of a reset that comes with the connection, the request failed, and that is all."""

    def reset_all(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    async def ask(port: int) -> None:
        limits = dataclasses.replace(LIMITS, burst_s=10.0)
        async with RpcClient(Endpoint(f"http://127.0.0.1:{port}/key/SECRET"), limits) as subject:
            for _ in range(1_000):
                await failure(subject)

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=reset_all, args=(server,))
        accepting.start()
        try:
            # The daemon's own loop: asyncio's keeps the socket, so this shows only here, a few times in a thousand.
            uvloop.run(ask(server.getsockname()[1]))
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join()


@pytest.mark.parametrize(
    ("reply", "code", "text"),
    [
        (Reply(said.error(-32004, "Block not available")), -32004, "Block not available"),
        (Reply(said.error(-32602, "Invalid params"), status=400), -32602, "Invalid params"),
        (Reply(b"<html>", status=502), 502, "HTTP 502"),
        (Reply(b"", status=503), 503, "HTTP 503"),
        (Reply(said.result(1), status=500), 500, "HTTP 500"),
        (Reply(b"<html>"), None, "malformed"),
        (Reply(b"{}"), None, "missing"),
        (Reply(b'{"id":1}'), None, "neither result nor error"),
        (Reply(b"{", cut=True), None, "RemoteProtocolError"),
    ],
)
async def test_failures(reply: Reply, code: int | None, text: str) -> None:
    """Errors of the node, of its proxy and of the wire are told with their code, the node's first."""
    async with http_node() as server, client(server) as subject:
        server.next.append(reply)
        error = await failure(subject)
        assert error.code == code
        assert text in str(error)
        assert list(subject.tally.requests) == [("getHealth", "no_answer" if code is None else str(code))]


async def test_codes_that_a_node_makes_up_are_counted_together() -> None:
    """Each word of the count is a series for ever: a node must not be able to make as many as it likes."""
    async with http_node() as server, client(server) as subject:
        for code in range(90_000, 90_020):
            server.next.append(Reply(said.error(code, "whatever")))
            assert (await failure(subject)).code == code
        assert subject.tally.requests == {("getHealth", "other"): 20}


async def test_no_answer_in_time() -> None:
    """A node that hangs is given up."""
    async with http_node() as server, client(server, timeout_s=0.05) as subject:
        server.next.append(Reply(hang=True))
        assert "no answer within 0.05 s" in str(await failure(subject))


async def test_nobody_there() -> None:
    """A node that is not there fails the request."""
    async with RpcClient(Endpoint("http://127.0.0.1:1/SECRET"), LIMITS) as subject:
        assert (await failure(subject)).code is None


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"", status=429, headers={"Retry-After": "0.2"}),
        Reply(said.error(429, "slow down"), headers={"Retry-After": "0.2"}),
        Reply(said.error(-32429, "slow down"), status=200, headers={"Retry-After": "0.2"}),
    ],
)
async def test_being_limited_makes_everybody_wait(reply: Reply) -> None:
    """Too many requests: Retry-After is told, and no request goes out before."""
    async with http_node() as server, client(server) as subject:
        server.results["getHealth"] = lambda _: "ok"
        server.next.append(reply)
        error = await failure(subject)
        assert (error.code, error.retry_after_s) == (429, 0.2)
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        await asyncio.gather(subject.call(HEALTH), subject.call(HEALTH))
        assert loop.time() - asked_at > 0.15


@pytest.mark.parametrize("status", [401, 403])
async def test_refusals(status: int) -> None:
    """A status that will not change is a refusal."""
    async with http_node() as server, client(server) as subject:
        server.next.append(Reply(b"no", status=status))
        with pytest.raises(SourceRefused, match=f"HTTP {status}") as caught:
            await subject.call(HEALTH)
        assert "SECRET" not in str(caught.value)
        assert subject.tally.requests == {("getHealth", "refused"): 1}
        # Whoever goes on asking is held back: within a moment no second request leaves.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await subject.call(HEALTH)
        assert subject.tally.requests == {("getHealth", "refused"): 1}


@pytest.mark.parametrize("url", ["ws://h/SECRET", "SECRET", "http:///SECRET"])
async def test_no_http_address(url: str) -> None:
    """An address of another kind is a refusal, and its secret is not quoted."""
    async with RpcClient(Endpoint(url), LIMITS) as subject:
        with pytest.raises(SourceRefused, match="no HTTP address") as caught:
            await subject.call(HEALTH)
    assert "SECRET" not in str(caught.value)


async def test_concurrency_is_bounded() -> None:
    """No more requests are under way than allowed."""
    async with http_node() as server, client(server, concurrency=3) as subject:
        server.results["getHealth"] = lambda _: "ok"
        server.gate.clear()
        calls = [asyncio.create_task(subject.call(HEALTH)) for _ in range(10)]
        await server.arrived(3)
        server.gate.set()
        await asyncio.gather(*calls)
        assert server.busiest == 3


async def test_rate_is_bounded() -> None:
    """Beyond the burst requests come at the rate."""
    async with http_node() as server, client(server, rate_per_s=20, burst_s=0.1, concurrency=10) as subject:
        server.results["getHealth"] = lambda _: "ok"
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        await asyncio.gather(*(subject.call(HEALTH) for _ in range(6)))
        assert loop.time() - began_at >= (6 - 2) / 20 - 0.001


async def test_nothing_is_logged_with_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    """The library tells every address it asks; its lines are off."""
    caplog.set_level(logging.DEBUG)
    async with http_node() as server, client(server) as subject:
        server.results["getHealth"] = lambda _: "ok"
        await subject.call(HEALTH)
    assert not [record for record in caplog.records if "SECRET" in record.getMessage()]


async def test_methods_have_rates_of_their_own() -> None:
    """A method beyond its rate waits without a place, so that the others go on."""
    rates = {"getBlock": 10.0}
    limits = dataclasses.replace(LIMITS, rates_per_s=rates, burst_s=0.1, concurrency=1)
    async with http_node() as server, RpcClient(Endpoint(server.url), limits) as subject:
        server.results = {"getHealth": lambda _: "ok", "getBlock": lambda _: {}}
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        blocks = [asyncio.create_task(subject.call(rpc.get_block(slot, "confirmed"))) for slot in range(3)]
        await asyncio.gather(*(subject.call(HEALTH) for _ in range(20)))
        assert loop.time() - began_at < 0.15
        await asyncio.gather(*blocks)
        assert loop.time() - began_at >= 2 / 10 - 0.001


@pytest.mark.parametrize(
    "reply",
    [
        Reply(said.error(-32005, "Too many requests, slow down"), status=200),
        Reply(said.error(-32007, "50/second request limit reached - reduce calls per second"), status=429),
        Reply(said.error(-32003, "Rate limit exceeded"), status=200),
        Reply(b"error code: 1015", status=429),
    ],
)
async def test_limits_told_in_words_are_limits(reply: Reply) -> None:
    """Whatever code a provider gives them; none is taken for a word about the block."""
    async with http_node() as server, client(server) as subject:
        server.next.append(reply)
        assert (await failure(subject)).code == 429
        assert subject.rests_until > asyncio.get_running_loop().time() + 0.4


async def test_a_date_to_come_back_at_is_kept() -> None:
    """Retry-After may be a date, also beside a status that is no limit; absurd ones are cut."""
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    for value, least_s, most_s in ((in_a_minute, 55, 61), ("Sat, 20 Nov 2286 17:46:39 GMT", 3_500, 3_601)):
        async with http_node() as server, client(server) as subject:
            server.next.append(Reply(b"", status=503, headers={"Retry-After": value}))
            assert (await failure(subject)).code == 503
            assert least_s < subject.rests_until - asyncio.get_running_loop().time() < most_s


async def test_being_limited_several_times_at_once_is_one_pause() -> None:
    """Where the node does not tell how long it wants to rest: it grows with the pauses, not with the answers."""
    async with http_node() as server, client(server) as subject:
        server.gate.clear()
        server.next.extend([Reply(b"", status=429)] * 4)
        calls = [asyncio.create_task(subject.call(HEALTH)) for _ in range(4)]
        await server.arrived(4)
        server.gate.set()
        await asyncio.gather(*calls, return_exceptions=True)
        assert 0.4 < subject.rests_until - asyncio.get_running_loop().time() <= 1.0


async def test_one_call_at_a_time_finds_out_whether_we_are_let_in() -> None:
    """However many wait: each rest ends with one request; once it is answered all go."""
    async with http_node() as server, client(server, refused_pause_s=0.05) as subject:
        server.results["getHealth"] = lambda _: "ok"
        server.next.extend([Reply(b"no", status=401)] * 3)
        with pytest.raises(SourceRefused):
            await subject.call(HEALTH)
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        calls = await asyncio.gather(*(subject.call(HEALTH) for _ in range(12)), return_exceptions=True)
        assert sum(isinstance(call, SourceRefused) for call in calls) == 2
        assert loop.time() - began_at >= 0.1
        assert subject.tally.requests == {("getHealth", "refused"): 3, ("getHealth", "ok"): 10}
