"""Open holes are found oldest first, and failed tries are noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.store.batch import SKIPPED_BY_START, Batch, Filled, Hole, Progress

if TYPE_CHECKING:
    import asyncpg

    from monitor.store.store import Store


async def test_open_holes_come_oldest_slots_first(store: Store) -> None:
    """Ranges and transactions alike; those that are filled do not, nor those that are left out."""
    holes = [
        Hole(first_slot=20, last_slot=30, reason="feed_away", feed="logs"),
        Hole(first_slot=10, last_slot=10, reason="gave_up", signature="s", feed="fetch"),
        Hole(first_slot=15, last_slot=99, reason="feed_away", feed="blocks"),
    ]
    await store.write(Batch(holes=holes))
    found = await store.open_holes(10)
    assert [(hole.first_slot, hole.last_slot, hole.signature, hole.reason, hole.feed) for hole in found] == [
        (10, 10, "s", "gave_up", "fetch"),
        (15, 99, None, "feed_away", "blocks"),
        (20, 30, None, "feed_away", "logs"),
    ]
    assert await store.open_holes(1, [found[0].id]) == [found[1]]
    await store.write(Batch(filled=[Filled(by="history", hole_id=found[1].id)]))
    assert await store.open_holes(10) == [found[0], found[2]]
    assert await store.count_open_holes() == 2


async def test_failed_tries_are_noted(store: Store) -> None:
    """With the last reason, any text; a hole that was filled meanwhile stays as it is."""
    await store.write(Batch(holes=[Hole(first_slot=1, last_slot=2, reason="feed_away")]))
    (hole,) = await store.open_holes(1)
    await store.hole_failed(hole.id, "pruned")
    await store.hole_failed(hole.id, "not \0 yet")
    async with store._reader() as connection:
        row = await connection.fetchrow("SELECT tries, last_error FROM holes")
        assert tuple(row) == (2, "not \u2400 yet")
        await store.write(Batch(filled=[Filled(by="history", hole_id=hole.id)]))
        await store.hole_failed(hole.id, "late")
        assert tuple(await connection.fetchrow("SELECT tries, last_error FROM holes")) == (2, "not \u2400 yet")


async def test_what_was_left_out_on_purpose_is_not_to_be_filled(store: Store) -> None:
    """It stays an open row all the same: it is missing."""
    await store.write(Batch(holes=[Hole(first_slot=1, last_slot=2, reason=SKIPPED_BY_START, feed="logs")]))
    assert await store.open_holes(10) == []
    assert await store.count_open_holes() == 0
    async with store._reader() as connection:
        assert await connection.fetchval("SELECT count(*) FROM holes WHERE filled_at IS NULL") == 1


async def test_what_a_chain_that_is_gone_left_open_is_abandoned(store: Store) -> None:
    """Its holes are closed and say why, those filled before stay as they are, and progress begins anew."""
    holes = [Hole(first_slot=slot, last_slot=slot, reason="feed_away") for slot in (1, 2)]
    holes.append(Hole(first_slot=3, last_slot=3, reason="gave_up", signature="s"))
    await store.write(Batch(holes=holes, progress=[Progress(feed="logs", slot=9)]))
    (first, *_) = await store.open_holes(1)
    await store.write(Batch(filled=[Filled(by="history", hole_id=first.id)]))
    assert await store.forget_chain() == 2
    assert await store.count_open_holes() == 0
    assert await store.progress() == ()
    async with store._reader() as connection:
        rows = await connection.fetch("SELECT filled_by FROM holes WHERE filled_at IS NOT NULL ORDER BY first_slot")
    assert [row[0] for row in rows] == ["history", "abandoned", "abandoned"]
    assert await store.forget_chain() == 0
    await store.write(Batch(progress=[Progress(feed="logs", slot=5)]))
    assert [told.slot for told in await store.progress()] == [5]


async def test_what_a_node_said_is_kept_with_the_hole_whatever_it_was(store: Store, sql: asyncpg.Connection) -> None:
    """Text that PostgreSQL cannot hold must not end the daemon, and no reason is a sentence."""
    said = "Slot 5\0 was skipped \ud800"
    hole = Hole(first_slot=5, last_slot=5, reason="not_fetched", signature="s", last_error=said)
    await store.write(Batch(holes=[hole]))
    row = await sql.fetchrow("SELECT reason, last_error FROM holes")
    assert (row["reason"], row["last_error"]) == ("not_fetched", "Slot 5\u2400 was skipped \ufffd")


async def test_no_text_of_a_node_ends_the_daemon(store: Store, sql: asyncpg.Connection) -> None:
    """Wherever else one goes into a row: the signature of a hole, the hash of a block, why a try failed."""
    hole = Hole(first_slot=5, last_slot=5, reason="not_fetched", signature="a\0\ud800")
    await store.write(Batch(holes=[hole], progress=[Progress(feed="blocks", slot=5, blockhash="b\0")]))
    (found,) = await store.open_holes(9)
    await store.hole_failed(found.id, "c\0\ud800")
    assert await sql.fetchval("SELECT blockhash FROM feeds") == "b\u2400"
    row = await sql.fetchrow("SELECT signature, last_error FROM holes")
    assert tuple(row) == ("a\u2400\ufffd", "c\u2400\ufffd")
