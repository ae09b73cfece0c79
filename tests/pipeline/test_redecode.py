"""What could not be read is read again, on request, once it can be."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from monitor.channel import Channel
from monitor.errors import StoreUnavailable
from monitor.pipeline.redecode import REDECODE, Group, Redecoding, Rules, from_fault
from monitor.sources.notices import PayloadSeen
from monitor.store.asked import Request
from monitor.store.kept import FaultRow, TailRow
from tests.decoders.built import ALL, RAW, TIME_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from monitor.sources.notices import Notice

PUMP = RAW["pumpfun"].address
TRADE = RAW["pumpfun"].event("TradeEvent", is_buy=True, token_amount=1_000, sol_amount=100, timestamp=TIME_S)
AT = datetime.fromtimestamp(TIME_S, UTC)
QUICK = Rules(page_rows=2, poll_s=0.01, look_s=0.01, patience_s=0.2)


def fault(number: int, **columns: Any) -> FaultRow:
    """Return a fault that is readable today: its discriminator was not known when it came."""
    row: dict[str, Any] = {
        "id": number, "program": PUMP, "venue": "pumpfun", "event": TRADE[:8].hex(), "nth": 0,
        "signature": f"signature {number}", "slot": 7, "block_time": AT, "tx_index": 3, "position": 1, "fact": "fault",
        "platform": "pumpfun", "reason": "unknown_discriminator", "payload": TRADE, "seen_at": AT, "resolved_at": None,
        "resolved_by": None,
    } | columns  # fmt: skip
    return FaultRow(**row)


def tail(number: int, surplus: bytes) -> TailRow:
    """Return an event that was read up to `surplus`, which today's IDL knows as little as it did then."""
    return TailRow(number, PUMP, "pumpfun", "TradeEvent", 0, f"tail {number}", 7, AT, 3, 1, "trade", surplus,
                   TRADE + b"\xee" * 5)  # fmt: skip


@dataclass
class Kept:
    """A database with what is kept; payloads that a writer takes are resolved at once."""

    rows: list[FaultRow] = field(default_factory=list)
    surplus: list[TailRow] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    results: dict[int, dict[str, Any]] = field(default_factory=dict)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    errors: int = 0
    told: list[PayloadSeen] = field(default_factory=list)

    async def faults(self, limit: int, *, unresolved_only: bool = True, after_id: int = 0) -> list[FaultRow]:
        """Return faults."""
        assert unresolved_only
        self._fail()
        return [row for row in self.rows if row.id > after_id and row.resolved_at is None][:limit]

    async def tails(self, after_id: int, limit: int) -> list[TailRow]:
        """Return tails."""
        return [row for row in self.surplus if row.id > after_id][:limit]

    async def open_requests(self) -> list[Request]:
        """Return requests that are not settled."""
        return [request for request in self.requests if request.id not in self.results]

    async def settle_request(self, request_id: int, result: dict[str, Any]) -> None:
        """Remember a result."""
        self._fail()
        self.results[request_id] = result
        self.settled.set()

    def _fail(self) -> None:
        if self.errors:
            self.errors -= 1
            raise StoreUnavailable("away")

    async def put(self, item: Notice) -> None:
        """Take a payload as the stages do: resolve it."""
        assert isinstance(item, PayloadSeen)
        seen = item
        self.told.append(seen)
        self.rows = [replace(row, resolved_at=AT) if row.id == seen.fault_id else row for row in self.rows]
        self.surplus = [row for row in self.surplus if row.id != seen.tail_id]


def redecoding(kept: Kept) -> Redecoding:
    """Return what is tried here."""
    return Redecoding(kept, lambda seen: ALL.decode_payload(seen, {}), rules=QUICK)


async def test_what_is_readable_now_is_put_out_and_counted() -> None:
    """In pages; what is still unreadable and what was refused stay where they are."""
    kept = Kept([*map(fault, range(1, 6)), fault(6, payload=b"\xff" * 20, event="ff" * 8),
                 fault(7, fact="trade", reason="refused: too big", payload=b"{}")])  # fmt: skip
    result = await redecoding(kept).once(kept)
    assert (result.of("told"), result.of("unreadable"), result.refused, result.late) == (5, 1, 1, 0)
    assert [seen.fault_id for seen in kept.told] == [1, 2, 3, 4, 5]
    assert kept.told[0] == PayloadSeen(
        PUMP, TRADE[:8].hex(), 0, "signature 1", 7, TIME_S, 3, 1, TRADE, kind="fault", fault_id=1
    )
    assert result.groups[Group(PUMP, "unknown_discriminator", TRADE[:8].hex(), "told")] == 5
    assert result.as_json()["groups"][0]["count"] == 5


async def test_a_dry_run_changes_nothing() -> None:
    """It tells the same counts."""
    kept = Kept([fault(1), fault(2)])
    assert (await redecoding(kept).once(None)).of("told") == 2
    assert kept.told == []


async def test_one_program_is_read_and_others_are_left() -> None:
    """The address decides."""
    kept = Kept([fault(1), fault(2, program="another")])
    assert (await redecoding(kept).once(kept, PUMP)).groups.total() == 1
    assert [seen.fault_id for seen in kept.told] == [1]


async def test_a_tail_is_told_when_less_of_it_is_surplus_by_now() -> None:
    """Bytes that are as unknown as they were are left."""
    kept = Kept(surplus=[tail(1, b"\xee" * 5), tail(2, b"\xee" * 9)])
    result = await redecoding(kept).once(kept)
    assert [seen.tail_id for seen in kept.told] == [2]
    assert (result.of("told"), result.of("unreadable")) == (1, 1)


async def test_what_is_not_stored_in_time_is_counted_as_late() -> None:
    """A writer that hangs does not hold up everything for ever."""
    kept, wire = Kept([fault(1)]), Channel[Any](10, "wire")
    assert (await redecoding(kept).once(wire)).late == 1


def test_what_was_refused_is_no_payload() -> None:
    """It was read in its time; what is kept of it is JSON."""
    assert from_fault(fault(1, reason="refused: no block has this time")) is None


@asynccontextmanager
async def serving(kept: Kept) -> AsyncIterator[None]:
    """Serve requests until the block ends."""
    task = asyncio.create_task(redecoding(kept).run(kept))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.mark.parametrize("errors", [0, 3])
async def test_requests_are_served_and_settled(errors: int) -> None:
    """Also by a database that is away now and then; requests of other kinds are for others."""
    kept = Kept([fault(1), fault(2, program="another")], errors=errors)
    kept.requests = [Request(1, "dance", {}, AT, None, None), Request(2, REDECODE, {"program": PUMP}, AT, None, None)]
    async with serving(kept), asyncio.timeout(30):
        await kept.settled.wait()
    assert kept.results.keys() == {2}
    assert kept.results[2]["told"] == 1
