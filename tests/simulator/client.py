"""A plain client of the simulated node: a websocket, and single requests by HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

    from simulator.run import Simulator


class Client:
    """A websocket client that sorts what it hears."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method; keep what else arrives meanwhile."""
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
        while "id" not in (message := json.loads(await self.socket.recv())):
            self.heard.append(message)
        return message

    async def frames(self) -> list[bytes | str]:
        """Return what comes until a last call is answered, as text: also what is no JSON."""
        await self.socket.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "nope"}))
        found: list[bytes | str] = []
        while not (text := str(await self.socket.recv())).endswith('"id":0}'):
            found.append(text)
        return found

    async def results(self, method: str) -> list[Any]:
        """Return the results of a kind of notification so far; a last call makes sure that nothing is on its way."""
        await self.call("nope")
        return [item["params"]["result"] for item in self.heard if item["method"] == method]


@contextlib.asynccontextmanager
async def client(node: Simulator) -> AsyncIterator[Client]:
    """Connect a client that takes large frames."""
    async with connect(node.ws_url, max_size=1 << 26, max_queue=None, compression=None) as socket:
        yield Client(socket)


async def post(node: Simulator, body: Any) -> Any:
    """Return the answer to a request by HTTP."""

    def send() -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", node.node.http.port, timeout=10)
        connection.request("POST", "/", body if isinstance(body, bytes) else json.dumps(body))
        answer = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    return await asyncio.to_thread(send)


async def rpc(node: Simulator, method: str, *params: Any) -> Any:
    """Return a method's answer."""
    return await post(node, {"jsonrpc": "2.0", "id": 7, "method": method, "params": params})
