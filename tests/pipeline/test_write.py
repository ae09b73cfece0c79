"""The write stage: what waits is committed together, in order, again and again until it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from monitor.channel import Channel
from monitor.errors import SchemaMismatch, StoreUnavailable
from monitor.pipeline.gate import Gate
from monitor.pipeline.ledger import Ledger
from monitor.pipeline.write import Writing, write
from monitor.store.batch import Filled, Hole, Progress
from tests.pipeline.facts import launch, pool_trade, trade
from tests.pipeline.stages import Books, Watching, decoding, filled, logged_buys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.types import Fact
    from monitor.pipeline.decode import Durable


def writing(books: Books, *, gate: Gate | None = None, most: int = 1_000) -> Writing:
    """Return a write stage that keeps these books."""
    return Writing(books, gate, Ledger(), most, Watching())


async def commit(items: Sequence[Durable], state: Writing) -> None:
    """Write what waits, to its end."""
    for item in items:
        if hasattr(item, "kind"):
            state.ledger.told(cast("Fact", item))
    await write(cast("Channel[Durable]", filled(items, "durable")), state)


def trades(count: int) -> list[Any]:
    """Return so many trades."""
    return [trade(signature=str(number)) for number in range(count)]


async def test_what_waits_is_one_batch_up_to_the_cap() -> None:
    """Order is kept inside of batches and between them; no two batches have the same id."""
    books = Books()
    state = writing(books, most=4)
    await commit(trades(10), state)
    assert [len(batch.facts) for batch in books.batches] == [4, 4, 2]
    assert books.facts == trades(10)
    assert len({batch.batch_id for batch in books.batches}) == 3
    assert cast("Watching", state.watcher).rows == [4, 4, 2]
    assert (state.ledger.stored, state.ledger.batches, state.ledger.in_flight) == (10, 3, 0)


async def test_the_next_batch_gathers_while_one_is_committed() -> None:
    """The first row does not wait for company; those that come meanwhile go together."""
    books = Books()
    books.open.clear()
    durable: Channel[Any] = Channel(100, "durable")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write(durable, writing(books)))
        first, *others = trades(8)
        await durable.put(first)
        await books.begun.wait()
        for item in others:
            await durable.put(item)
        books.open.set()
        durable.close()
    assert [len(batch.facts) for batch in books.batches] == [1, 7]


async def test_a_batch_says_how_far_each_feed_is() -> None:
    """Of several reports of a feed the furthest counts, also if it is not the last; holes and fillings all go along."""
    books = Books()
    hole, other = (Hole(first_slot=at, last_slot=at + 2, reason="feed_away", feed="a") for at in (1, 7))
    items: list[Durable] = [
        Progress(feed="a", slot=3),
        hole,
        Progress(feed="b", slot=9),
        *trades(1),
        Progress(feed="a", slot=5, block_time=7),
        Filled(by="history", hole_id=1),
        Progress(feed="a", slot=4),
        Progress(feed="a", slot=2, program="p"),
        other,
    ]
    await commit(items, writing(books))
    (batch,) = books.batches
    assert sorted(batch.progress, key=str) == sorted(
        [Progress(feed="a", slot=5, block_time=7), Progress(feed="b", slot=9), Progress(feed="a", slot=2, program="p")],
        key=str,
    )
    assert batch.holes == [hole, other]
    assert batch.filled == [Filled(by="history", hole_id=1)]
    assert batch.facts == trades(1)


@pytest.mark.parametrize(
    "alone",
    [
        Progress(feed="a", slot=3),
        Hole(first_slot=1, last_slot=2, reason="feed_away"),
        Filled(by="history", hole_id=1),
    ],
    ids=["progress", "hole", "filled"],
)
async def test_a_batch_needs_no_facts(alone: Durable) -> None:
    """A quiet feed still gets on."""
    books = Books()
    await commit([alone], writing(books))
    (batch,) = books.batches
    assert [*batch.progress, *batch.holes, *batch.filled] == [alone]


async def test_the_same_batch_is_tried_until_it_is_in() -> None:
    """A commit of unknown outcome must not be counted twice: the id stays. The reason is told, and that it is over."""
    books = Books(errors=[StoreUnavailable("away"), StoreUnavailable("still away")])
    state = writing(books)
    await commit(trades(3), state)
    assert len(books.tried) == 3
    assert len({id(batch) for batch in books.tried}) == 1
    assert books.facts == trades(3)
    assert state.ledger.batches == 1
    assert cast("Watching", state.watcher).reasons == ["commit: away", "commit: still away", None]


async def test_what_will_not_pass_ends_the_stage() -> None:
    """Only a database that is away is waited for."""
    books = Books(errors=[SchemaMismatch("older")])
    with pytest.raises(SchemaMismatch):
        await commit(trades(1), writing(books))
    assert len(books.tried) == 1


async def test_a_question_is_asked_once() -> None:
    """Standings are remembered over batches; a database that is away is asked again."""
    books = Books(launched={"known"}, errors=[StoreUnavailable("away")])
    state = writing(books, gate=Gate(), most=2)
    known = [pool_trade(mint="known", signature=str(number)) for number in range(3)]
    unknown = [pool_trade(mint="unknown", signature=str(number)) for number in range(3)]
    await commit([known[0], unknown[0], known[1], unknown[1], unknown[2], known[2]], state)
    assert books.asked == [{"known", "unknown"}, {"known", "unknown"}]
    assert books.facts == known
    assert state.ledger.filtered == {"pumpswap": 3}
    assert state.ledger.in_flight == 0


async def test_a_batch_of_nothing_is_not_written() -> None:
    """Where all is filtered there is no commit; what comes behind is not held up."""
    books = Books()
    state = writing(books, gate=Gate(), most=2)
    await commit([pool_trade(nth=0), pool_trade(nth=1), launch(), pool_trade(nth=2)], state)
    assert [[fact.kind for fact in batch.facts] for batch in books.batches] == [["launch", "trade"]]
    assert (sum(state.ledger.filtered.values()), state.ledger.stored, state.ledger.in_flight) == (2, 2, 0)


async def test_without_a_gate_all_is_stored() -> None:
    """Nobody is asked then."""
    books = Books()
    await commit([pool_trade()], writing(books))
    assert len(books.facts) == 1
    assert books.asked == []


async def test_everything_decoded_is_accounted_for() -> None:
    """From a wire to the books: what was told is stored, and nothing is in flight."""
    stage, books = decoding(), Books()
    await through(stage.ledger, books, stage_items := [item for told in logged_buys(9) for item in stage.take(told)])
    assert len(books.facts) == len(stage_items) == 9
    assert stage.ledger.in_flight == 0


async def test_a_leak_is_seen() -> None:
    """A fact that vanishes between the stages, or of which the database says nothing, stays in flight for ever."""
    stage, books = decoding(), Books()
    items = [item for told in logged_buys(9) for item in stage.take(told)]
    del items[4]
    await through(stage.ledger, books, items)
    assert stage.ledger.in_flight == 1

    stage, books = decoding(), Books(loses=lambda fact: fact.signature == "3")
    await through(stage.ledger, books, [item for told in logged_buys(9) for item in stage.take(told)])
    assert stage.ledger.in_flight == 1


async def through(ledger: Ledger, books: Books, items: Sequence[Durable]) -> None:
    """Write what a decode stage told, which keeps the same ledger."""
    await write(cast("Channel[Durable]", filled(items, "durable")), Writing(books, Gate(), ledger, 4, Watching()))
