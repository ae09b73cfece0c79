"""Breaks what lies around the daemon: its wires to node, database and Redis, and the database itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from tests.chaos.servers import ROLE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.chaos.plan import Outage
    from tests.chaos.servers import Server
    from tests.proxy import Proxy

_BYTES_PER_S = 40_000
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND usename = '{}'"


class Breakers:
    """Carries out outages of one run. `struck` counts them by kind."""

    def __init__(self, server: Server, database: str, wires: dict[str, Proxy]) -> None:
        self._server = server
        self._database = database
        self._to_database = wires["database"]
        self._to_redis = wires["redis"]
        self.to_ws = wires["ws"]
        self.to_http = wires["http"]
        self._tasks: set[asyncio.Task[None]] = set()
        # One at a time of those that need the server to answer.
        self._lock = asyncio.Lock()
        self.struck: Counter[str] = Counter()

    def begin(self, outage: Outage) -> None:
        """Begin one; it ends by itself."""
        self.struck[outage.kind] += 1
        match outage.kind:
            case "node_reset":
                self.to_ws.cut()
                self.to_http.cut()
            case "redis_cut":
                self._start(self._refused(self._to_redis, outage.seconds))
            case "database_cut":
                self._start(self._refused(self._to_database, outage.seconds))
            case "database_stall":
                self._start(self._stalled(outage.seconds))
            case "database_throttle":
                self._start(self._throttled(outage.seconds))
            case _:
                self._start(self._in_database(outage))

    async def over(self) -> None:
        """Return once all have ended, and the database answers."""
        await asyncio.gather(*self._tasks)
        await self._server.answers()

    def _start(self, what: Coroutine[None, None, None]) -> None:
        self._tasks.add(asyncio.create_task(what))

    async def _refused(self, proxy: Proxy, seconds: float) -> None:
        await proxy.refuse()
        proxy.cut()
        await asyncio.sleep(seconds)
        await proxy.accept()

    async def _stalled(self, seconds: float) -> None:
        self._to_database.stall()
        await asyncio.sleep(seconds)
        self._to_database.resume()

    async def _throttled(self, seconds: float) -> None:
        self._to_database.throttle(_BYTES_PER_S)
        await asyncio.sleep(seconds)
        self._to_database.throttle(None)

    async def _in_database(self, outage: Outage) -> None:
        async with self._lock:
            await self._server.answers()
            match outage.kind:
                case "database_restart":
                    await self._server.restart(outage.seconds)
                case "database_read_only":
                    await self._between(
                        f"ALTER DATABASE {self._database} SET default_transaction_read_only = on",
                        f"ALTER DATABASE {self._database} RESET default_transaction_read_only",
                        outage.seconds,
                    )
                case "database_full":
                    await self._between(
                        f"ALTER ROLE {ROLE} CONNECTION LIMIT 0",
                        f"ALTER ROLE {ROLE} CONNECTION LIMIT -1",
                        outage.seconds,
                    )
                case _:
                    await self._server.execute(self._terminate)

    @property
    def _terminate(self) -> str:
        return _TERMINATE.format(self._database, ROLE)

    async def _between(self, begin: str, end: str, seconds: float) -> None:
        """Change the database, ending all sessions so that it holds for them; change it back, ending none."""
        await self._server.execute(begin, self._terminate)
        await asyncio.sleep(seconds)
        await self._server.execute(end)
