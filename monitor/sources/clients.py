"""Ask several nodes as if they were one: the first that can tell."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from monitor.errors import RequestFailed, SourceRefused
from monitor.sources import rpc
from monitor.sources.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from monitor.sources.client import Answer, ClientLimits, RpcClient
    from monitor.sources.endpoint import Endpoint
    from monitor.sources.tally import RpcTally

# These say that the request makes no sense, wherever it goes.
_OF_THE_REQUEST = frozenset({"bad_request"})
# These say something of what was asked for; after all others the node itself is left alone for a while.
_OF_THE_BLOCK = frozenset({"not_yet", "not_there", "pruned", "no_history", "version", "unknown_method"})
# What a node says that has nothing to tell: another one may have forgotten less.
_NOTHING = frozenset({b"null", b"[]"})
_FIRST_REST_S, _LONGEST_REST_S = 1.0, 60.0


class Rpc(Protocol):
    """Calls to a node, or to several that stand in for each other."""

    @property
    def endpoint(self) -> Endpoint:
        """The node that is asked first."""

    @property
    def limits(self) -> ClientLimits:
        """How hard that one is used."""

    @property
    def tallies(self) -> Mapping[str, RpcTally]:
        """Counts by endpoint, whose names hold no secret."""

    async def call(self, request: rpc.Request) -> Answer:
        """Ask, and return the answer. Raises RequestFailed and SourceRefused."""

    async def each(self, request: rpc.Request) -> Sequence[Answer]:
        """Ask every node, and return the answers of those that gave one. Raises as `call` if none did."""


class RpcClients:
    """
    Several clients, opened by whoever made them, in the order in which they are asked.

    The next one is asked when one fails, limits, refuses, has forgotten or never had what is asked for; if `thorough`
    is set, also when it has nothing to tell (null, an empty list) or not yet: for what lies in the past. A node that
    failed by itself rests, and is asked again after those that did not.
    """

    def __init__(self, clients: Sequence[RpcClient], *, thorough: bool = False) -> None:
        self._clients = tuple(clients)
        self._thorough = thorough
        self._rests = {client: Backoff(_FIRST_REST_S, _LONGEST_REST_S) for client in clients}
        self._back_at = dict.fromkeys(clients, 0.0)

    @property
    def endpoint(self) -> Endpoint:
        """The node that is asked first."""
        return self._clients[0].endpoint

    @property
    def limits(self) -> ClientLimits:
        """How hard that one is used."""
        return self._clients[0].limits

    @property
    def tallies(self) -> Mapping[str, RpcTally]:
        """Counts by endpoint; those of one host are told apart by their number."""
        seen: Counter[str] = Counter()
        found: dict[str, RpcTally] = {}
        for client in self._clients:
            label = str(client.endpoint)
            seen[label] += 1
            found[label if seen[label] == 1 else f"{label} ({seen[label]})"] = client.tally
        return found

    async def call(self, request: rpc.Request) -> Answer:
        """
        Ask one after the other, and return the first answer that tells something, else the first one.

        Raises:
            RequestFailed: If none of them answers: the error that says most, which is that of the first that has one
                about what was asked for.
            SourceRefused: If none lets us in.
        """
        nothing: Answer | None = None
        errors: list[RequestFailed | SourceRefused] = []
        for client in self._order():
            try:
                answer = await self._ask(client, request)
            except (RequestFailed, SourceRefused) as error:
                errors.append(error)
                if self._is_final(error):
                    break
                continue
            if not self._thorough or bytes(answer.result).strip() not in _NOTHING:
                return answer
            nothing = nothing or answer
        if nothing is not None:
            return nothing
        raise _telling(errors)

    async def each(self, request: rpc.Request) -> Sequence[Answer]:
        """Ask every node, one after the other. Raises as `call` if none answers."""
        answers: list[Answer] = []
        errors: list[RequestFailed | SourceRefused] = []
        for client in self._order():
            try:
                answers.append(await self._ask(client, request))
            except (RequestFailed, SourceRefused) as error:
                errors.append(error)
        if not answers:
            raise _telling(errors)
        return answers

    def _order(self) -> list[RpcClient]:
        """Return those that do not rest; if all do, the one that is back first."""
        now = asyncio.get_running_loop().time()
        ready = [client for client in self._clients if self._rests_until(client) <= now]
        return ready or [min(self._clients, key=self._rests_until)]

    def _rests_until(self, client: RpcClient) -> float:
        return max(self._back_at[client], client.rests_until)

    async def _ask(self, client: RpcClient, request: rpc.Request) -> Answer:
        try:
            answer = await client.call(request)
        except (RequestFailed, SourceRefused) as error:
            if isinstance(error, SourceRefused) or rpc.kind_of(error.code) not in _OF_THE_BLOCK | _OF_THE_REQUEST:
                rest_s = self._rests[client].failed()
                self._back_at[client] = asyncio.get_running_loop().time() + rest_s
            raise
        self._rests[client].succeeded()
        return answer

    def _is_final(self, error: RequestFailed | SourceRefused) -> bool:
        if isinstance(error, SourceRefused):
            return False
        kind = rpc.kind_of(error.code)
        return kind in _OF_THE_REQUEST or (kind == "not_yet" and not self._thorough)


def _telling(errors: Sequence[RequestFailed | SourceRefused]) -> RequestFailed | SourceRefused:
    def weight(error: RequestFailed | SourceRefused) -> int:
        if isinstance(error, SourceRefused):
            return 2
        return 0 if rpc.kind_of(error.code) in _OF_THE_BLOCK else 1

    return min(errors, key=weight)
