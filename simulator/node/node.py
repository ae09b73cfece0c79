"""One node: a chain, served by JSON-RPC and PubSub on loopback ports."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from simulator.calls import LogWriter
from simulator.chain import COMMITMENTS
from simulator.faults.faults import Faults
from simulator.node.http import HttpServer
from simulator.node.pubsub import PubSub
from simulator.node.rpc import Rpc
from simulator.node.subscriptions import block_result, logs_result, slot_result
from simulator.node.transactions import transaction_result
from simulator.rendering import Renderer

if TYPE_CHECKING:
    from simulator.chain import Block, Chain, Commitment
    from simulator.node.connection import Connection
    from simulator.node.subscriptions import Kind, Subscription
    from simulator.world import World

_BREATH = 50  # transactions between two yields to the event loop


class Node:
    """Serves a chain. `lossless`: publishing waits for slow clients; else they are cut off."""

    def __init__(
        self, chain: Chain, world: World, *, log_limit_bytes: int | None, queue_size: int, lossless: bool
    ) -> None:
        self._chain = chain
        self._renderer = Renderer(world.bank, LogWriter(), log_limit_bytes)
        self._lossless = lossless
        self._host = ""
        self.faults = Faults()
        self.rpc = Rpc(chain, self._renderer)
        self.http = HttpServer(self._call, self.faults)
        self.pubsub = PubSub(self.faults, queue_size)

    async def start(self, host: str, ws_port: int, http_port: int) -> None:
        """Open both ports."""
        self._host = host
        await self.http.start(host, http_port)
        await self.pubsub.start(host, ws_port)

    async def open_again(self) -> None:
        """
        Open the same ports again after `stop`.

        Raises:
            OSError: If one is taken.
        """
        await self.http.start(self._host, self.http.port)
        try:
            await self.pubsub.start(self._host, self.pubsub.port)
        except OSError:
            await self.http.stop()
            raise

    def drop_connections(self) -> None:
        """Cut every connection now, websocket and HTTP, without a goodbye."""
        self.pubsub.drop_all()
        self.http.drop_all()

    async def stop(self) -> None:
        """Close both ports."""
        self.http.refuse()
        await self.pubsub.stop()
        await self.http.stop()

    def _call(self, method: str, params: list[Any]) -> Any:
        return self.faults.requests.call(method, params, self.rpc.call)

    def follow(self, world: World) -> None:
        """Render what happens in this world from now on: that of the real market, or of a fork."""
        self._renderer.bank = world.bank

    async def publish(self) -> None:
        """Tell subscribers about new blocks, and about those that became more certain by them."""
        root = self._chain.tip("finalized")
        for commitment in COMMITMENTS:
            for block in self._chain.fresh(commitment):
                if commitment == "processed":
                    await self._send_all("slot", slot_result(block.slot, block.parent, root))
                await self._publish_logs(block, commitment)
                await self._publish_transactions(block, commitment)
                await self._publish_block(block, commitment)
                if commitment == "finalized":
                    await self._send_all("root", str(block.slot).encode())

    async def tell_old(self, distance: int) -> None:
        """Tell subscribers of slots about one that they heard of before, as a node behind a balancer does."""
        slot, root = (self._chain.tip(level) - distance for level in ("processed", "finalized"))
        await self._send_all("slot", slot_result(slot, slot - 1, root))

    async def _send_all(self, kind: Kind, result: bytes) -> None:
        for connection, wanted in self.pubsub.wanted(kind, lambda _: True):
            await self._send(connection, wanted, result)

    async def _publish_logs(self, block: Block, commitment: Commitment) -> None:
        wanted = self.pubsub.wanted("logs", lambda found: found.commitment == commitment)
        if not wanted:
            return
        # As agave does: subscription by subscription, each in the order of the block.
        mentions = [tx.mentions() for tx in block.transactions]
        results: dict[int, bytes] = {}
        for connection, found in wanted:
            for number, tx in enumerate(block.transactions):
                if found.mentions is None or found.mentions in mentions[number]:
                    if number not in results:
                        results[number] = logs_result(tx, self._renderer)
                    await self._send(connection, found, results[number])
                if number % _BREATH == 0:
                    await asyncio.sleep(0)

    async def _publish_transactions(self, block: Block, commitment: Commitment) -> None:
        wanted = self.pubsub.wanted("transaction", lambda found: found.commitment == commitment)
        if not wanted:
            return
        for number, tx in enumerate(block.transactions):
            mentions = tx.mentions()
            results: dict[str, bytes] = {}
            for connection, found in wanted:
                if found.wanted is not None and found.wanted.takes(tx, mentions):
                    asked = str(found.config)
                    if asked not in results:
                        results[asked] = transaction_result(tx, block, self._renderer, found.config)
                    await self._send(connection, found, results[asked])
            if number % _BREATH == 0:
                await asyncio.sleep(0)

    async def _publish_block(self, block: Block, commitment: Commitment) -> None:
        results: dict[tuple[bytes | None, str], bytes | None] = {}
        for connection, found in self.pubsub.wanted("block", lambda found: found.commitment == commitment):
            asked = (found.mentions, str(found.config))
            if asked not in results:
                results[asked] = block_result(block, self._renderer, found)
            result = results[asked]
            if result is not None:
                await self._send(connection, found, result)

    async def _send(self, connection: Connection, found: Subscription, result: bytes) -> None:
        if self._lossless:
            await connection.put(found.kind, found.frame(result))
        else:
            connection.offer(found.kind, found.frame(result))
