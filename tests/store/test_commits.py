"""What a commit makes true besides its facts is in the same transaction, and never moves back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.batch import (
    TOLD_AFTER_FINAL,
    Batch,
    Done,
    Filled,
    FilledPart,
    Final,
    Hole,
    Progress,
    Resolved,
    Settled,
)
from tests.store.facts import BLOCK_TIME, SLOT, fault, trade

if TYPE_CHECKING:
    from monitor.store.store import Store


async def test_a_hole_is_filled_in_parts(store: Store) -> None:
    """What is there is told with the open hole; a part that comes again moves nothing back."""
    hole_id = await store.file_hole(5, 900, "backfill")
    assert (await store.open_holes(1))[0].filled_through is None
    for through in (100, 400, 200):
        await store.write(Batch(parts=[FilledPart(hole_id=hole_id, through=through)]))
    (found,) = await store.open_holes(1)
    assert (found.filled_through, found.reason) == (400, "backfill")
    await store.write(Batch(parts=[FilledPart(hole_id=hole_id, through=900)], filled=[Filled(by="x", hole_id=hole_id)]))
    row = await store.hole(hole_id)
    assert row is not None
    assert (row.filled_through, row.filled_by, row.tries) == (900, "x", 0)
    assert await store.hole(hole_id + 1) is None
    assert await store.holes(open_only=True, limit=9) == []
    assert await store.holes(open_only=False, limit=9) == [row]


async def test_a_hole_is_filed_once(store: Store) -> None:
    """While it is open the same one has one id, whoever files it; once it is filled there is another."""
    first = await store.file_hole(1, 2, "audit")
    assert await store.file_hole(1, 2, "audit") == first
    of_one = await store.file_hole(1, 2, "redecode", signature="s")
    assert of_one == await store.file_hole(3, 3, "gave_up", signature="s")
    assert len({first, of_one, await store.file_hole(1, 2, "audit", feed="logs")}) == 3
    await store.write(Batch(filled=[Filled(by="history", hole_id=first)]))
    assert await store.file_hole(1, 2, "audit") > of_one


async def test_a_hole_stands_for_none_of_another_reason(store: Store) -> None:
    """What is in doubt is read from the finalized chain, what is only missing is not; each is filled by itself."""
    backfill = await store.file_hole(7, 7, "backfill")
    await store.write(Batch(holes=[Hole(first_slot=7, last_slot=7, reason="not_final")]))
    audit = await store.file_hole(7, 7, "audit")
    assert [hole.reason for hole in await store.open_holes(9)] == ["backfill", "not_final", "audit"]
    await store.write(Batch(parts=[FilledPart(hole_id=audit, through=7)], filled=[Filled(by="x", hole_id=backfill)]))
    found = [(hole.reason, hole.filled_through) for hole in await store.open_holes(9)]
    assert found == [("not_final", None), ("audit", 7)]


async def test_what_is_told_late_again_is_read_again(store: Store) -> None:
    """The slot's hole may have been read before, without that: what fills it then leaves it open."""
    await store.write(Batch([trade(slot=SLOT, signature="first")], late=frozenset({SLOT})))
    (first,) = await store.open_holes(9)
    await store.write(Batch(settled=[Settled(slot=SLOT, signatures=("first",))]))
    await store.write(Batch([trade(slot=SLOT, signature="of a fork")], late=frozenset({SLOT})))
    await store.write(Batch(filled=[Filled(by="history", hole_id=first.id)]))
    (again,) = await store.open_holes(9)
    assert (again.first_slot, again.reason) == (SLOT, TOLD_AFTER_FINAL)
    settled = await store.write(Batch(settled=[Settled(slot=SLOT, signatures=("first",))]))
    await store.write(Batch(filled=[Filled(by="history", hole_id=again.id)]))
    assert [fact.signature for fact in settled.voided] == ["of a fork"]
    assert await store.open_holes(9) == []


async def test_the_journal_is_done_up_to_a_number(store: Store) -> None:
    """Of each journal on its own; with or without facts; never back."""
    assert await store.journal_done("a") == 0
    await store.write(Batch([trade()], done=Done(journal_id="a", seq=7)))
    await store.write(Batch(done=Done(journal_id="b", seq=3)))
    await store.write(Batch(done=Done(journal_id="a", seq=6)))
    assert [await store.journal_done(name) for name in "abc"] == [7, 3, 0]


async def test_final_never_moves_back(store: Store) -> None:
    """It is None before the first."""
    assert await store.final_through() is None
    await store.write(Batch(progress=[Progress(feed="logs", slot=8, block_time=BLOCK_TIME)]))
    for through in (9, 12, 11):
        await store.write(Batch(final=Final(through=through)))
    assert await store.final_through() == 12
    async with store._reader() as connection:
        at = await connection.fetchval("SELECT block_time FROM finality")
    assert at.timestamp() == BLOCK_TIME


async def test_what_is_new_in_a_final_slot_is_a_hole(store: Store) -> None:
    """So that it is checked. What was known already is none, nor is what came in time."""
    await store.write(Batch([trade(slot=SLOT + 1)]))
    told = [trade(slot=SLOT + 1), trade(slot=SLOT + 2, signature="late"), trade(slot=SLOT + 3, signature="in time")]
    await store.write(Batch(told, late=frozenset({SLOT + 1, SLOT + 2})))
    (found,) = await store.open_holes(9)
    assert (found.first_slot, found.last_slot, found.reason, found.signature) == (
        SLOT + 2,
        SLOT + 2,
        TOLD_AFTER_FINAL,
        None,
    )


async def test_requests_are_served_once(store: Store) -> None:
    """They are open until they are settled, oldest first."""
    first, second = await store.file_request("redecode", {"program": "x"}), await store.file_request("y", {})
    assert [(request.id, request.kind, request.args) for request in await store.open_requests()] == [
        (first, "redecode", {"program": "x"}),
        (second, "y", {}),
    ]
    await store.settle_request(first, {"told": 3})
    await store.settle_request(first, {"told": 0})
    assert [request.id for request in await store.open_requests()] == [second]
    settled, waiting = await store.request(first), await store.request(second)
    assert settled is not None
    assert waiting is not None
    assert (settled.result, settled.done_at is not None) == ({"told": 3}, True)
    assert (waiting.result, waiting.done_at) == (None, None)
    assert await store.request(second + 1) is None


async def test_faults_are_paged_until_they_are_resolved(store: Store) -> None:
    """Each has its whole payload, its identity and its place."""
    facts = [fault(signature=f"s{at}", payload=bytes([at] * 9), position=at) for at in range(5)]
    await store.write(Batch(facts))
    rows = await store.faults(3)
    rows += await store.faults(3, after_id=rows[-1].id)
    assert [(row.signature, row.payload, row.position, row.tx_index, row.fact) for row in rows] == [
        (f"s{at}", bytes([at] * 9), at, 7, "fault") for at in range(5)
    ]
    assert all(row.block_time is not None and row.block_time.timestamp() == BLOCK_TIME for row in rows)
    await store.write(Batch(resolved=[Resolved(by="redecode", fault_id=rows[1].id)]))
    assert [row.signature for row in await store.faults(9)] == ["s0", "s2", "s3", "s4"]
    every = await store.faults(9, unresolved_only=False)
    assert [row.resolved_by for row in every] == [None, "redecode", None, None, None]
    assert every[1].resolved_at is not None


async def test_nobody_takes_a_lock_that_is_held(store: Store, database_url: str) -> None:
    """`try_lock` says so, and takes it when it is free."""
    async with await type(store).open(database_url) as standby:
        assert not await standby.try_lock()
        assert await store.try_lock()
        await store.close()
        while not await standby.try_lock():
            pass
        assert len((await standby.write(Batch([trade()]))).new) == 1
