"""A node that knows recorded transactions alone: a plain websocket server, and JSON-RPC over HTTP."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import serve

from tests.e2e.said import text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from websockets.asyncio.server import ServerConnection

    from tests.e2e.said import Record

ROOT_DISTANCE = 31


@dataclass
class RecordedNode:
    """
    The node's state. `asked` counts HTTP requests by method.

    It begins a slot as soon as a connection has asked for slots and for the logs of `programs` programs.
    """

    records: Mapping[str, Record]
    accounts: Mapping[str, dict[str, Any]]
    programs: int
    first_slot: int
    ws_url: str = ""
    http_url: str = ""
    asked: dict[str, int] = field(default_factory=dict)
    connection: ServerConnection | None = None
    subscriptions: dict[str, int] = field(default_factory=dict)

    async def tell_slot(self, slot: int) -> None:
        """Begin a slot."""
        value = {"slot": slot, "parent": slot - 1, "root": slot - ROOT_DISTANCE}
        await self._notify("slotNotification", value, self.subscriptions["slots"])

    async def tell(self, record: Record, *, signature: str | None = None, err: object = None) -> None:
        """Tell a transaction to each subscription that it names, as a node does."""
        value = {"signature": signature or record.signature, "err": err, "logs": record.logs}
        for program in sorted(record.mentions):
            result = {"context": {"slot": record.slot}, "value": value}
            await self._notify("logsNotification", result, self.subscriptions[program])

    async def _notify(self, method: str, result: object, subscription: int) -> None:
        assert self.connection is not None
        params = {"result": result, "subscription": subscription}
        await self.connection.send(text_of({"jsonrpc": "2.0", "method": method, "params": params}))

    async def serve_ws(self, connection: ServerConnection) -> None:
        """Acknowledge what a connection asks for."""
        self.connection, self.subscriptions = connection, {}
        async for text in connection:
            request = json.loads(text)
            name = "slots"
            if request["method"] == "logsSubscribe":
                [name] = request["params"][0]["mentions"]
            self.subscriptions[name] = 24_040 + len(self.subscriptions)
            reply = {"jsonrpc": "2.0", "result": self.subscriptions[name], "id": request["id"]}
            await connection.send(text_of(reply))
            if len(self.subscriptions) == self.programs + 1:
                await self.tell_slot(self.first_slot)

    async def serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the other side closes the connection."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().lower().split("\r\n")
                [length] = [int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")]
                request = json.loads(await reader.readexactly(length))
                body = text_of({"jsonrpc": "2.0", "id": request["id"], **self._answer(request)}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        method, params = request["method"], request["params"]
        self.asked[method] = self.asked.get(method, 0) + 1
        match method:
            case "getTransaction":
                record = self.records.get(params[0])
                return {"result": record.whole if record else None}
            case "getMultipleAccounts":
                value = [self.accounts.get(address) for address in params[0]]
                return {"result": {"context": {"slot": 454_000_000}, "value": value}}
            case _:
                return {"error": {"code": -32601, "message": "Method not found"}}


@asynccontextmanager
async def run(
    records: Sequence[Record], accounts: Mapping[str, dict[str, Any]], programs: int
) -> AsyncIterator[RecordedNode]:
    """Run a node on free ports; nothing is told until somebody calls `tell`."""
    by_signature = {record.signature: record for record in records}
    node = RecordedNode(by_signature, accounts, programs, first_slot=min(record.slot for record in records) - 1)
    async with (
        serve(node.serve_ws, "127.0.0.1", 0, compression=None) as ws,
        await asyncio.start_server(node.serve_http, "127.0.0.1", 0) as http,
    ):
        node.ws_url = f"ws://127.0.0.1:{ws.sockets[0].getsockname()[1]}"
        node.http_url = f"http://127.0.0.1:{http.sockets[0].getsockname()[1]}"
        yield node
