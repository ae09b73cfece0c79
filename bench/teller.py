"""
A node that tells a simulated market from a file, as fast as it is taken or at a rate: a process of its own.

Everything that it says is rendered beforehand, and goes into the socket in large pieces, so that the machine's time
is left to who listens. What it is to do it reads line by line from its standard input (`Teller`, outside of it).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from array import array
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from bench import database
from bench.simulated import ROOT_DISTANCE, SLOTS, Told, notification
from simulator.faults.faults import Faults
from simulator.node import errors
from simulator.node.http import HttpServer
from simulator.node.subscriptions import slot_result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from bench.simulated import Tape

_ROOT = Path(__file__).resolve().parents[1]
_START_S, _TELL_S, _STOP_S = 60, 600, 30
_SLOT_S = 0.4
_TICK_S = 0.001
_QUIET_SLOTS = 100_000  # before the first one that is told
_AT_ONCE = 64
_READ_BYTES = 1 << 16


class Order(msgspec.Struct, frozen=True):
    """
    What is to be told: `count` notifications, `rate` a second (None: as fast as they are taken).

    With `bursts` those of a slot go at once, as a node tells them, else they are spread evenly. When each of them was
    sent (ns of the monotonic clock, 8 bytes each) is written to `times`.
    """

    count: int
    times: str
    rate: float | None = None
    bursts: bool = False


class Teller:
    """The process, from outside."""

    def __init__(self, process: asyncio.subprocess.Process, ws_url: str, http_url: str) -> None:
        self._process = process
        self.ws_url, self.http_url = ws_url, http_url

    async def tell(self, order: Order) -> array[int]:
        """Tell all that is ordered, and return when each notification was sent."""
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        async with asyncio.timeout(_TELL_S):
            await _line(self._process)
        times = array("q")
        times.frombytes(Path(order.times).read_bytes())
        return times


@asynccontextmanager
async def telling(path: Path) -> AsyncIterator[Teller]:
    """Run a node that tells the tape in a file (see `save`) until the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.teller", str(path), cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    try:
        async with asyncio.timeout(_START_S):
            ready = await _line(process)
        yield Teller(process, ready["ws_url"], ready["http_url"])
    finally:
        process.stdin.close()
        async with asyncio.timeout(_STOP_S):
            await process.wait()


async def _line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line, "the teller ended"
    return dict(json.loads(line))


def save(tape: Tape, path: Path) -> None:
    """Write a tape as `telling` reads it."""
    path.write_bytes(msgspec.msgpack.encode((tape.programs, tape.told)))


class _Node:
    """The process, from inside."""

    def __init__(self, programs: dict[int, str], told: Sequence[Told]) -> None:
        self._told = told
        self._numbers = {address: number for number, address in programs.items()}
        self._frames = [_framed(one.frame) for one in told]
        self._slot = told[0].slot - _QUIET_SLOTS
        self._where = {one.signature: one.slot for one in told}
        self._in_slot: dict[int, list[str]] = defaultdict(list)
        for signature, slot in self._where.items():
            self._in_slot[slot].append(signature)
        self._subscribed: set[int] = set()
        self._all_subscribed = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self.asked: Counter[str] = Counter()

    # PubSub

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client after another."""
        protocol = ServerProtocol()
        self._subscribed.clear()
        self._all_subscribed.clear()
        while data := await reader.read(_READ_BYTES):
            protocol.receive_data(data)
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
                    self._writer = writer
                elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                    protocol.send_text(self._subscribe(bytes(event.data)))
            for out in protocol.data_to_send():
                writer.write(out)
        writer.close()

    def _subscribe(self, text: bytes) -> bytes:
        request = json.loads(text)
        number = SLOTS
        if request["method"] == "logsSubscribe":
            [address] = request["params"][0]["mentions"]
            number = self._numbers[address]
        self._subscribed.add(number)
        if len(self._subscribed) == len(self._numbers) + 1:
            self._all_subscribed.set()
        return msgspec.json.encode({"jsonrpc": "2.0", "result": number, "id": request["id"]})

    async def idle(self) -> None:
        """Begin a slot each 400 ms until cancelled."""
        while True:
            await self._all_subscribed.wait()
            self._begin(self._slot + 1)
            await asyncio.sleep(_SLOT_S)

    def _begin(self, slot: int) -> None:
        assert self._writer is not None
        parent, self._slot = self._slot, slot
        self._writer.write(_framed(notification("slot", slot_result(slot, parent, slot - ROOT_DISTANCE), SLOTS)))

    async def tell(self, order: Order) -> array[int]:
        """Tell notifications, with the slots that they are in; return when each was sent."""
        await self._all_subscribed.wait()
        if order.rate is None:
            return await self._tell_at_once(order.count)
        return await self._tell_at(order.count, order.rate, bursts=order.bursts)

    async def _tell_at_once(self, count: int) -> array[int]:
        assert self._writer is not None
        times = array("q")
        for at in range(0, count, _AT_ONCE):
            times.extend([time.monotonic_ns()] * self._send(at, min(at + _AT_ONCE, count)))
            await self._writer.drain()
        return times

    async def _tell_at(self, count: int, rate: float, *, bursts: bool) -> array[int]:
        times = array("q")
        began = time.monotonic()
        while len(times) < count:
            due = min(int((time.monotonic() - began) * rate) + 1, count)
            if bursts:
                # The whole of the slots that are over.
                while 0 < due < count and self._told[due].slot == self._told[due - 1].slot:
                    due -= 1
            if due > len(times):
                times.extend([time.monotonic_ns()] * self._send(len(times), due))
            await asyncio.sleep(_TICK_S)
        return times

    def _send(self, first: int, end: int) -> int:
        assert self._writer is not None
        for at in range(first, end):
            if self._told[at].slot > self._slot:
                self._begin(self._told[at].slot)
            self._writer.write(self._frames[at])
        return end - first

    # JSON-RPC

    def call(self, method: str, params: list[Any]) -> Any:
        """Answer what a daemon asks that compares its rows with the finalized chain."""
        self.asked[method] += 1
        match method, params:
            case "getSlot", [{"commitment": "finalized"}]:
                return self._slot - ROOT_DISTANCE
            case "getSlot", _:
                return self._slot
            case "getSignatureStatuses", [signatures, *_]:
                return {"context": {"slot": self._slot}, "value": [self._status(one) for one in signatures]}
            case "getBlock", [slot, {"transactionDetails": "signatures"}]:
                return self._header(slot) | {"signatures": self._in_slot[slot]}
            case "getBlock", [slot, {"transactionDetails": "none"}]:
                return self._header(slot)
            case _:
                raise errors.method_not_found()

    def _status(self, signature: str) -> dict[str, Any] | None:
        slot = self._where.get(signature)
        if slot is None or slot > self._slot:
            return None
        return {"slot": slot, "confirmations": None, "err": None, "confirmationStatus": "finalized"}

    def _header(self, slot: int) -> dict[str, Any]:
        return {"blockhash": f"{slot:032}", "previousBlockhash": f"{slot - 1:032}", "parentSlot": slot - 1,
                "blockHeight": slot, "blockTime": None}  # fmt: skip


def _framed(payload: bytes) -> bytes:
    """Return a text as one websocket frame of a server (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


async def _serve(path: Path) -> None:
    programs, told = msgspec.msgpack.decode(path.read_bytes(), type=tuple[dict[int, str], list[Told]])
    node = _Node(programs, told)
    http = HttpServer(node.call, Faults())
    await http.start("127.0.0.1", 0)
    ws = await asyncio.start_server(node.serve, "127.0.0.1", 0)
    port = ws.sockets[0].getsockname()[1]
    print(json.dumps({"ws_url": f"ws://127.0.0.1:{port}", "http_url": f"http://127.0.0.1:{http.port}"}), flush=True)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    idling = asyncio.create_task(node.idle())
    while line := await lines.readline():
        order = msgspec.json.decode(line, type=Order)
        idling.cancel()
        times = await node.tell(order)
        Path(order.times).write_bytes(times.tobytes())
        print("{}", flush=True)
        idling = asyncio.create_task(node.idle())
    idling.cancel()
    print(f"the node was asked: {dict(node.asked)}", file=sys.stderr)


if __name__ == "__main__":
    database.run(_serve(Path(sys.argv[1])))
