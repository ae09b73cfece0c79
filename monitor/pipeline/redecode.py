"""Read again what was kept because nobody could read it: a source of payloads, served on request."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeVar

import structlog

from monitor.errors import StoreUnavailable
from monitor.sources.notices import PayloadSeen
from monitor.tasks import retry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from decoders.core.types import Decoded
    from monitor.sources.notices import Outlet
    from monitor.store.asked import Request
    from monitor.store.kept import FaultRow, TailRow

log = structlog.get_logger(__name__)

REDECODE = "redecode"
"""The kind of a request for this, and the reason of the holes that come of it."""
REFUSED = "refused: "
_FAULT = "fault"

T = TypeVar("T")
Outcome = Literal["told", "hole", "unreadable"]


class Kept(Protocol):
    """Where payloads and requests are kept. Each call may raise StoreUnavailable, and is repeated then."""

    async def faults(self, limit: int, *, unresolved_only: bool, after_id: int = 0) -> Sequence[FaultRow]:
        """Return faults of ids above `after_id`, in order."""

    async def tails(self, after_id: int, limit: int) -> Sequence[TailRow]:
        """Return tails that are not resolved, of ids above `after_id`, in order."""

    async def open_requests(self) -> Sequence[Request]:
        """Return what was asked for and is not settled."""

    async def settle_request(self, request_id: int, result: dict[str, Any]) -> None:
        """Note what came of a request."""


class Group(NamedTuple):
    """What counts are kept by. `reason` is "tail" for bytes after those that an IDL knew."""

    program: str
    reason: str
    event: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Rules:
    """How to go about it: rows in a page, seconds between looks for requests, and for what was put out to be stored."""

    page_rows: int = 500
    poll_s: float = 3.0
    look_s: float = 0.2
    patience_s: float = 120.0


@dataclass(slots=True)
class Result:
    """
    What came of reading again.

    `told` became rows, `hole` will come of whole transactions that are fetched, `unreadable` stay as they are.
    `refused` were read in their time, and are not tried. `late` were put out, but not stored within
    `Rules.patience_s`.
    """

    groups: Counter[Group]
    refused: int = 0
    late: int = 0

    def of(self, outcome: Outcome) -> int:
        """Return how many ended so."""
        return sum(count for group, count in self.groups.items() if group.outcome == outcome)

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        groups = [{**group._asdict(), "count": count} for group, count in sorted(self.groups.items())]
        outcomes: tuple[Outcome, ...] = ("told", "hole", "unreadable")
        return {**{name: self.of(name) for name in outcomes}, "refused": self.refused, "late": self.late,
                "groups": groups}  # fmt: skip


def from_fault(row: FaultRow) -> PayloadSeen | None:
    """Return the payload of a fault; None if it was read in its time, and refused by the database."""
    if row.fact != _FAULT or row.reason.startswith(REFUSED):
        return None
    return _seen(row, fault_id=row.id)


def from_tail(row: TailRow) -> PayloadSeen:
    """Return the payload of an event that was read, but not to its end."""
    return _seen(row, tail_id=row.id)


def _seen(row: FaultRow | TailRow, *, fault_id: int | None = None, tail_id: int | None = None) -> PayloadSeen:
    return PayloadSeen(
        program=row.program,
        event=row.event,
        nth=row.nth,
        signature=row.signature,
        slot=row.slot,
        block_time=None if row.block_time is None else int(row.block_time.timestamp()),
        index=row.tx_index,
        position=row.position,
        payload=row.payload,
        kind=row.fact,
        fault_id=fault_id,
        tail_id=tail_id,
    )


def judge(decoded: Decoded, tail_bytes: int | None = None) -> Outcome:
    """
    Return what becomes of a payload that says this today.

    Args:
        decoded: What it says.
        tail_bytes: How many bytes were surplus when it was stored, if that is why it was kept.
    """
    if decoded.needs or decoded.partial:
        return "hole"
    if not decoded.facts or any(fact.kind == _FAULT for fact in decoded.facts):
        return "unreadable"
    left = max((len(fact.record.tail) for fact in decoded.facts if fact.record is not None), default=0)
    return "unreadable" if tail_bytes is not None and left >= tail_bytes else "told"


class Redecoding:
    """
    Serves requests of kind "redecode" for as long as it runs: payloads that are readable now go into the outlet.

    A request's `args` may name a `program` (its address), the others are left then. It is settled when what came of it
    is stored; one that is cut off is served again, and finds what is left.
    """

    def __init__(self, store: Kept, read: Callable[[PayloadSeen], Decoded], *, rules: Rules | None = None) -> None:
        """
        Begin with nothing read.

        Args:
            store: Has payloads and requests.
            read: Decodes a payload as the decode stage would, by today's IDLs.
        """
        self.name = REDECODE
        self._store = store
        self._read = read
        self._rules = rules or Rules()

    async def run(self, out: Outlet) -> None:
        """Serve requests for ever."""
        while True:
            for request in await again(self._store.open_requests, "open_requests"):
                if request.kind == REDECODE:
                    await self._serve(request, out)
            await asyncio.sleep(self._rules.poll_s)

    async def _serve(self, request: Request, out: Outlet) -> None:
        program = request.args.get("program")
        result = await self.once(out, program if isinstance(program, str) else None)
        log.info("redecoded", request=request.id, told=result.of("told"), unreadable=result.of("unreadable"))
        await again(lambda: self._store.settle_request(request.id, result.as_json()), "settle_request")

    async def once(self, out: Outlet | None, program: str | None = None) -> Result:
        """
        Go through everything once, and return what came of it.

        Args:
            out: Takes what is readable; it is waited for until that is stored. None: nothing is changed.
            program: Address of the program whose payloads are read; None: all.
        """
        result = Result(Counter())
        await self._go(self._faults(result), out, program, result)
        await self._go(self._tails(), out, program, result)
        return result

    async def _go(self, pages: AsyncIterator[_Page], out: Outlet | None, program: str | None, result: Result) -> None:
        async for page in pages:
            put: set[int] = set()
            for row_id, reason, seen, tail_bytes in page.payloads:
                if program is not None and seen.program != program:
                    continue
                outcome = judge(self._read(seen), tail_bytes)
                result.groups[Group(seen.program, reason, seen.event, outcome)] += 1
                if outcome != "unreadable" and out is not None:
                    put.add(row_id)
                    await out.put(seen)
            result.late += await self._stored(page, put)

    async def _stored(self, page: _Page, put: set[int]) -> int:
        """Wait until nothing that was put out is open any more; return how much of it still is when patience ends."""
        ends_at = asyncio.get_running_loop().time() + self._rules.patience_s
        while put and (left := put & set(await page.open_ids())):
            if asyncio.get_running_loop().time() > ends_at:
                return len(left)
            await asyncio.sleep(self._rules.look_s)  # the commit is another process's or another task's
        return 0

    async def _faults(self, result: Result) -> AsyncIterator[_Page]:
        async def page(after_id: int) -> Sequence[FaultRow]:
            rows = self._rules.page_rows
            return await again(lambda: self._store.faults(rows, unresolved_only=True, after_id=after_id), "faults")

        after_id = 0
        while rows := await page(after_id):
            found = [(row, from_fault(row)) for row in rows]
            result.refused += sum(seen is None for _, seen in found)
            payloads = [_Payload(row.id, row.reason, seen, None) for row, seen in found if seen is not None]
            yield _Page(payloads, _ids(page, after_id))
            after_id = rows[-1].id

    async def _tails(self) -> AsyncIterator[_Page]:
        async def page(after_id: int) -> Sequence[TailRow]:
            return await again(lambda: self._store.tails(after_id, self._rules.page_rows), "tails")

        after_id = 0
        while rows := await page(after_id):
            payloads = [_Payload(row.id, "tail", from_tail(row), len(row.tail)) for row in rows]
            yield _Page(payloads, _ids(page, after_id))
            after_id = rows[-1].id


async def again(call: Callable[[], Awaitable[T]], what: str) -> T:
    """Return what the database says, asking until it does."""
    return await retry(call, what=what, transient=(StoreUnavailable,))


class _Payload(NamedTuple):
    row_id: int
    reason: str
    seen: PayloadSeen
    tail_bytes: int | None


class _Page(NamedTuple):
    payloads: list[_Payload]
    open_ids: Callable[[], Awaitable[list[int]]]
    """Tells which rows of the page are open by now."""


def _ids(
    page: Callable[[int], Awaitable[Sequence[FaultRow | TailRow]]], after_id: int
) -> Callable[[], Awaitable[list[int]]]:
    async def ids() -> list[int]:
        return [row.id for row in await page(after_id)]

    return ids
