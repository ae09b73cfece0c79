"""One connection to a node, and every way in which it breaks."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING

import pytest

from monitor.errors import SourceLost, SourceRefused
from monitor.sources import rpc
from monitor.sources.endpoint import Endpoint
from monitor.sources.session import Limits, open_session
from monitor.sources.subscriptions import Stray, Told
from tests.sources import said
from tests.sources.node import LIMITS, Node, Peer, node, tcp_server

if TYPE_CHECKING:
    from monitor.sources.session import Session
    from tests.sources.node import Node, Peer

WANTED = {"p": rpc.logs_subscribe(said.PROGRAM, "confirmed"), "slots": rpc.slot_subscribe()}


def limits(**changes: float) -> Limits:
    """Return the usual limits with some changed."""
    return dataclasses.replace(LIMITS, **changes)  # type: ignore[arg-type]  # int members are given ints


async def subscribed(session: Session, server: Node) -> tuple[Peer, dict[str, int]]:
    """Subscribe; return the node's side and the subscription ids."""
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(session.subscribe(WANTED))
        peer = await server.peer()
        ids = await peer.acknowledge(2)
        await asking
    return peer, ids


async def test_notifications_arrive_under_their_label() -> None:
    """Each frame comes with its bytes and its subscription's label, and the time spent waiting for it is known."""
    async with node() as server, open_session(Endpoint(server.url), LIMITS) as session:
        peer, ids = await subscribed(session, server)
        frame = said.logs(1, 9, ids[said.PROGRAM])
        await peer.send(frame, said.slot(40, ids["slotSubscribe"]))
        raw, event = await session.receive()
        assert raw == frame
        assert isinstance(event, Told)
        assert event.label == "p"
        assert 0 < session.waited_s < 5
        _, event = await session.receive()
        assert isinstance(event, Told)
        assert event.label == "slots"
        assert server.paths == ["/key/SECRET"]


async def test_headers_are_sent() -> None:
    """Headers of the endpoint reach the node."""
    async with node() as server, open_session(Endpoint(server.url, {"X-Key": "k"}), LIMITS):
        peer = await server.peer()
        assert peer.connection.request is not None
        assert peer.connection.request.headers["X-Key"] == "k"
        assert "Sec-WebSocket-Extensions" not in peer.connection.request.headers


async def test_notifications_before_the_acknowledgement_are_kept() -> None:
    """What a node says before it acknowledges is told afterwards, in order; strays are told apart."""
    async with node() as server, open_session(Endpoint(server.url), LIMITS) as session:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(session.subscribe(WANTED))
            peer = await server.peer()
            await peer.request()
            await peer.send(said.logs(1, 9, 55), said.logs(2, 9, 66), "garbage")
            await peer.send(said.result(55, 1), said.logs(3, 9, 55), said.result(77, 2))
        events = [(await session.receive())[1] for _ in range(4)]
        assert [type(event) for event in events] == [Told, Stray, rpc.Malformed, Told]


async def test_a_slot_before_the_last_acknowledgement_is_left_out() -> None:
    """Whether its own subscription stood by then or not: what other subscriptions told of it may have been missed."""
    async with node() as server, open_session(Endpoint(server.url), LIMITS) as session:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(session.subscribe(WANTED))
            peer = await server.peer()
            await peer.request()
            await peer.send(said.slot(9, 77), said.result(77, 2), said.slot(10, 77), said.result(55, 1))
        await peer.send(said.slot(11, 77))
        raw, event = await session.receive()
        assert (raw, type(event)) == (said.slot(11, 77), Told)


async def test_garbage_ends_nothing() -> None:
    """Frames that are no message are told as such: text, binary, JSON of another kind."""
    async with node() as server, open_session(Endpoint(server.url), LIMITS) as session:
        peer, _ = await subscribed(session, server)
        await peer.send("{", "[]", '{"method":"fooNotification"}')
        await peer.connection.send(b"\xff\x00")
        for _ in range(4):
            assert isinstance((await session.receive())[1], rpc.Malformed)


@pytest.mark.parametrize(
    ("message", "code", "expected"),
    [
        ("Method not found", -32601, SourceRefused),
        ("bad pubkey", -32602, SourceRefused),
        ("plan", -32403, SourceRefused),
        ("slow down", 429, SourceLost),
        ("oops", -32603, SourceLost),
    ],
)
async def test_refused_subscriptions(message: str, code: int, expected: type[Exception]) -> None:
    """What will never work is refused, with the mend; what may work later is lost."""
    async with node() as server, open_session(Endpoint(server.url), LIMITS) as session:
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(outcome(session, {"blocks": rpc.block_subscribe("confirmed")}))
            await (await server.peer()).send(said.error(code, message))
        error = asking.result()
        assert type(error) is expected
        assert message in str(error)
        assert "SECRET" not in str(error)
        if isinstance(error, SourceRefused):
            assert error.mend
            assert ("--rpc-pubsub-enable-block-subscription" in error.mend) == (code == -32601)


async def outcome(session: Session, wanted: dict[str, rpc.Request]) -> Exception | None:
    """Subscribe; return how it failed."""
    try:
        await session.subscribe(wanted)
    except (SourceLost, SourceRefused) as error:
        return error
    return None


async def test_no_acknowledgement() -> None:
    """A node that does not acknowledge in time is lost, and what is missing is named."""
    async with node() as server, open_session(Endpoint(server.url), limits(acknowledge_timeout_s=0.05)) as session:
        with pytest.raises(SourceLost, match=r"did not acknowledge p, slots within 0\.05 s"):
            await session.subscribe(WANTED)


async def test_a_flood_before_the_acknowledgement() -> None:
    """What is kept before the acknowledgement is bounded."""
    async with node() as server, open_session(Endpoint(server.url), limits(max_frame_bytes=5000)) as session:
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(outcome(session, WANTED))
            peer = await server.peer()
            for _ in range(3):
                await peer.send("x" * 4000)
        assert isinstance(asking.result(), SourceLost)
        assert "floods" in str(asking.result())


async def lost(session: Session) -> SourceLost:
    """Return how the connection is lost."""
    async with asyncio.timeout(5):
        while True:
            try:
                await session.receive()
            except SourceLost as error:
                return error


async def test_closed() -> None:
    """The node's own words of farewell are told."""
    async with node() as server, open_session(Endpoint(server.url), LIMITS) as session:
        peer, _ = await subscribed(session, server)
        await peer.connection.close(1012, "restart")
        error = await lost(session)
        assert "SECRET" not in str(error)
        assert (error.kind, "1012 restart" in str(error)) == ("closed", True)


async def test_reset() -> None:
    """A connection reset by the other side is lost."""
    async with node() as server, open_session(Endpoint(server.url), LIMITS) as session:
        peer, _ = await subscribed(session, server)
        peer.reset()
        assert (await lost(session)).kind == "broken"


async def test_silence() -> None:
    """A half-open connection, whose other end is silent for ever, is lost after the stall timeout."""
    async with node() as server, open_session(Endpoint(server.url), limits(stall_timeout_s=0.1)) as session:
        peer, ids = await subscribed(session, server)
        await peer.send(said.slot(40, ids["slotSubscribe"]))
        await session.receive()
        peer.connection.transport.pause_reading()  # nor does it answer pings or the close
        error = await lost(session)
        assert (error.kind, "silent for 0.1 s" in str(error)) == ("silent", True)


async def test_being_busy_is_no_silence() -> None:
    """While nobody receives, the stall timer does not run out."""
    async with node() as server, open_session(Endpoint(server.url), limits(stall_timeout_s=0.05)) as session:
        peer, ids = await subscribed(session, server)
        await peer.send(said.slot(40, ids["slotSubscribe"]))
        await asyncio.sleep(0.2)  # being busy is what is tested
        assert isinstance((await session.receive())[1], Told)


async def test_oversized() -> None:
    """A frame over the limit loses the connection, and says which limit."""
    async with node() as server, open_session(Endpoint(server.url), limits(max_frame_bytes=1000)) as session:
        peer, _ = await subscribed(session, server)
        await peer.send("x" * 1001)
        error = await lost(session)
        assert (error.kind, "over 1000 bytes" in str(error)) == ("oversized", True)


async def test_frames_of_32_mib_pass() -> None:
    """Whole blocks fit."""
    async with node() as server, open_session(Endpoint(server.url), Limits()) as session:
        peer, _ = await subscribed(session, server)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(peer.send("x" * (32 << 20)))
            raw, _ = await session.receive()
        assert len(raw) == 32 << 20


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_refusing_statuses(status: int) -> None:
    """A status that will not change refuses the source."""
    async with node() as server:
        server.statuses = [(status, {})]
        with pytest.raises(SourceRefused, match=f"HTTP {status}") as caught:
            async with open_session(Endpoint(server.url), LIMITS):
                pass
        assert caught.value.mend
        assert "SECRET" not in str(caught.value)


async def test_passing_statuses() -> None:
    """A status that may change loses the source, with the node's own wish for when to come back."""
    async with node() as server:
        server.statuses = [(429, {"Retry-After": "7"})]
        with pytest.raises(SourceLost, match="HTTP 429") as caught:
            async with open_session(Endpoint(server.url), LIMITS):
                pass
        assert caught.value.retry_after_s == 7.0


async def test_no_websocket_address() -> None:
    """An address of another kind is refused, and its secret is not quoted."""
    with pytest.raises(SourceRefused, match="no websocket address") as caught:
        async with open_session(Endpoint("https://h/SECRET"), LIMITS):
            pass
    assert "SECRET" not in str(caught.value)


async def test_unreachable() -> None:
    """Nobody listening, no such host, and nobody answering are losses, told without the address's secret."""
    async with tcp_server() as port:
        for url, options, kind in (
            ("ws://127.0.0.1:1/SECRET", LIMITS, "unreachable"),
            ("ws://host.invalid/SECRET", LIMITS, "unreachable"),
            (f"ws://127.0.0.1:{port}/SECRET", limits(open_timeout_s=0.05), "timeout"),
            (f"wss://127.0.0.1:{port}/SECRET", limits(open_timeout_s=0.05), "timeout"),
        ):
            with pytest.raises(SourceLost) as caught:
                async with open_session(Endpoint(url), options):
                    pass
            assert caught.value.kind == kind
            assert "SECRET" not in str(caught.value)


async def test_not_a_websocket_server() -> None:
    """A server that speaks something else is a loss."""
    async with tcp_server(b"220 smtp.example ESMTP\r\n\r\n") as port:
        with pytest.raises(SourceLost) as caught:
            async with open_session(Endpoint(f"ws://127.0.0.1:{port}"), LIMITS):
                pass
    assert caught.value.kind in {"handshake", "unreachable"}


async def test_nothing_is_logged_with_the_secret(caplog: pytest.LogCaptureFixture) -> None:
    """Not even the library's debug lines hold the address."""
    caplog.set_level(logging.DEBUG)
    async with node() as server, open_session(Endpoint(server.url), LIMITS) as session:
        peer, _ = await subscribed(session, server)
        await peer.connection.close()
        await lost(session)
    ours = [record for record in caplog.records if not record.name.startswith("websockets.server")]
    assert not [record for record in ours if "SECRET" in record.getMessage()]


async def test_closing_does_not_wait_for_a_full_queue() -> None:
    """A session whose node floods it is closed in time."""
    async with node() as server:
        async with open_session(Endpoint(server.url), limits(queue_frames=2)) as session:
            peer, ids = await subscribed(session, server)
            flood = asyncio.create_task(peer.send(*[said.slot(40, ids["slotSubscribe"])] * 100_000))
            await session.receive()
            closing_at = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - closing_at < 2
        flood.cancel()
        await asyncio.wait([flood])
