"""The decode stage: what is told, what waits, what is asked for, and how far a feed is meanwhile."""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from itertools import groupby
from random import Random
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest

from decoders.core.types import Graduation, Launch, Need, PoolCreated, Trade, TxNotice
from monitor.channel import Channel
from monitor.pipeline.decode import decode
from monitor.pipeline.told import Told
from monitor.sources.notices import (
    HISTORY,
    AccountSeen,
    BlockSeen,
    EndOfInput,
    FeedDown,
    FeedUp,
    FetchGaveUp,
    HoleFilled,
    Journaled,
    SlotSeen,
)
from monitor.store.batch import Done, Filled, Hole, Progress
from tests import mainnet
from tests.decoders import recorded as mainnet_data
from tests.decoders.built import ALL, RAW, TIME_S, WSOL, Call, Event, key, notice
from tests.pipeline import market
from tests.pipeline.facts import trade
from tests.pipeline.stages import Wishes, as_told, decoding, emptied, facts_of, fetched, filled, identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from decoders.core.types import Fact
    from monitor.pipeline.decode import Decoding
    from monitor.sources.notices import Notice

needs_data = mainnet_data.needs_data
PUMP, SWAP = RAW["pumpfun"], RAW["pumpswap"]

POOL, MINT, USER = key(1), key(2), key(3)


def mainnet_copy(file: str) -> TxNotice:
    """Return a recorded transaction, whole."""
    (line,) = (line for line in mainnet.recorded("transaction") if line.where.partition("#")[0].endswith(file))
    return mainnet_data.whole(line)


def mainnet_account(name: str) -> AccountSeen:
    """Return a recorded account."""
    (found,) = (account for account in mainnet_data.ACCOUNTS if account["name"] == name)
    return AccountSeen(found["address"], found["owner"], base64.b64decode(found["data_base64"]), 1, "fetch")


def pool_account(address: str = POOL, mint: str = MINT) -> AccountSeen:
    """Return the account of a PumpSwap pool."""
    data = SWAP.account("Pool", base_mint=mint, quote_mint=WSOL)
    return AccountSeen(address, SWAP.address, data.ljust(300, b"\0"), 1, "fetch")


def curve_buy(mint: str = MINT) -> Call:
    """Return a buy on Pump.fun, which tells everything by itself."""
    event = PUMP.event(
        "TradeEvent",
        mint=mint,
        user=USER,
        is_buy=True,
        token_amount=1_000,
        sol_amount=100,
        timestamp=TIME_S,
        virtual_token_reserves=10**15,
        virtual_sol_reserves=30 * 10**9,
    )
    return Call(PUMP.address, PUMP.instruction("buy"), (), (Event(event, "log"),))


def pool_sell(pool: str = POOL) -> Call:
    """Return a sell on PumpSwap, of which a log line does not tell the mint."""
    event = SWAP.event(
        "SellEvent",
        pool=pool,
        user=USER,
        base_amount_in=1_000,
        quote_amount_out=400,
        user_quote_amount_out=390,
        pool_base_token_reserves=10**12,
        pool_quote_token_reserves=10**10,
        timestamp=TIME_S,
    )
    return Call(SWAP.address, SWAP.instruction("sell"), (), (Event(event, "log"),))


def logged(*calls: Call, signature: str = "s", slot: int = 100, arrival: int = 1, **options: Any) -> TxNotice:
    """Return a transaction of these calls as a log notification tells it."""
    told = notice(*calls, carriers="log", block_time=None, **options)
    return msgspec.structs.replace(told, signature=signature, slot=slot, arrival=arrival, feed="logs")


def take(stage: Decoding, *notices: Notice) -> list[object]:
    """Return what these put out, one after the other."""
    return [item for told in notices for item in stage.take(told)]


def slots(root: int) -> SlotSeen:
    """Return a slot notification."""
    return SlotSeen(root + 32, root + 31, root, "logs")


# What is told at once.


async def test_a_failed_transaction_says_nothing() -> None:
    """It is counted, and neither told nor asked for."""
    wishes = Wishes()
    stage = decoding(wishes)
    assert take(stage, logged(curve_buy(), pool_sell(), failed=True)) == []
    assert (stage.ledger.received, stage.ledger.failed, stage.ledger.told_count) == (1, 1, 0)
    assert wishes.wanted == []
    assert len(stage.pending) == 0


async def test_a_failed_whole_copy_ends_the_wait() -> None:
    """A transaction that turns out to have failed lacks nothing any more, and the fetcher stops looking for it."""
    wishes = Wishes()
    stage = decoding(wishes)
    take(stage, logged(pool_sell()), TxNotice("s", 100, failed=True, invokes=(), feed="fetch"))
    assert len(stage.pending) == 0
    assert "s" in wishes.met


async def test_every_notice_is_counted_once() -> None:
    """Received are decoded, failed and irrelevant ones."""
    stage = decoding(Wishes())
    take(
        stage,
        logged(curve_buy(), signature="a"),
        logged(pool_sell(), signature="b"),
        logged(Call(key(99)), signature="c"),
        logged(curve_buy(), signature="d", failed=True),
        EndOfInput("logs"),
    )
    ledger = stage.ledger
    assert (ledger.received, ledger.decoded, ledger.failed, ledger.irrelevant) == (4, 2, 1, 1)


@needs_data
async def test_recorded_pump_transactions_are_told_from_their_logs() -> None:
    """A launch and its first buy need nothing else, and their copy out of a block tells the same facts."""
    whole = mainnet_copy("pump_create_v2_buy_exact_sol_in.gettransaction.json")
    stage = decoding(Wishes())
    told = facts_of(take(stage, as_told(whole)))
    assert [fact.kind for fact in told] == ["launch", "other", "trade"]
    assert {fact.arrival for fact in told} == {1}
    again = facts_of(take(stage, msgspec.structs.replace(whole, feed="blocks")))
    assert [identity(fact) for fact in again] == [identity(fact) for fact in told]


# What waits for a whole copy.


@needs_data
async def test_a_recorded_launch_waits_for_its_whole_copy() -> None:
    """
    LaunchLab's lines lack mint, trader and time: a whole copy is asked for, and told when it comes.

    It takes the place of the notification, and progress stays below the slot until then.
    """
    whole = mainnet_copy("launchlab_initialize_token2022_buy.json")
    wishes = Wishes()
    stage = decoding(wishes, whole.slot - 10)
    take(stage, FeedUp("logs", whole.slot - 5))
    assert take(stage, as_told(whole, arrival=7)) == []
    assert {need.reason for need in wishes.wanted} >= {"accounts"}
    assert all((need.signature, need.slot, need.pool) == (whole.signature, whole.slot, None) for need in wishes.wanted)
    assert take(stage, slots(whole.slot + 3)) == [Progress(feed="logs", slot=whole.slot - 1)]
    assert take(stage, slots(whole.slot + 4)) == []

    told = facts_of(take(stage, fetched(whole)))
    assert [type(fact) for fact in told] == [Launch, Trade]
    assert {(fact.index, fact.arrival) for fact in told} == {(None, 7)}
    assert wishes.met == [whole.signature]
    assert len(stage.pending) == 0
    assert take(stage, slots(whole.slot + 5)) == [Progress(feed="logs", slot=whole.slot + 5)]


@needs_data
async def test_a_whole_copy_without_a_time_waits_under_the_number_of_the_notification() -> None:
    """It came by another way than the journal, which must not let go of what told of it first."""
    whole = mainnet_copy("launchlab_initialize_token2022_buy.json")
    stage = decoding(Wishes())
    stage.journal_id = "j"
    stage.take(Journaled(7, as_told(whole, arrival=1)))
    assert stage.pending.oldest_seq() == 7
    take(stage, msgspec.structs.replace(fetched(whole), block_time=None))
    assert whole.signature in stage.pending
    assert stage.pending.oldest_seq() == 7
    stage.take(Journaled(9, slots(whole.slot)))
    assert stage.done() == Done(journal_id="j", seq=6)


@needs_data
async def test_history_knows_the_places_of_all_neighbours() -> None:
    """A copy that history brought keeps its place in the block."""
    whole = mainnet_copy("launchlab_initialize_token2022_buy.json")
    stage = decoding(Wishes())
    take(stage, as_told(whole, arrival=7))
    told = facts_of(take(stage, msgspec.structs.replace(whole, feed=HISTORY)))
    assert {fact.index for fact in told} == {whole.index}
    assert len(stage.pending) == 0


@needs_data
async def test_a_feed_of_blocks_knows_the_places_of_all_neighbours() -> None:
    """A copy that another feed told with its place keeps it: that feed tells the places of its neighbours as well."""
    whole = mainnet_copy("launchlab_initialize_token2022_buy.json")
    stage = decoding(Wishes())
    take(stage, as_told(whole, arrival=7))
    told = facts_of(take(stage, msgspec.structs.replace(whole, feed="blocks", index=31)))
    assert {(fact.index, fact.arrival) for fact in told} == {(31, None)}
    assert len(stage.pending) == 0


async def test_a_truncated_log_is_told_as_far_as_it_goes() -> None:
    """What was said before the cut is told, the rest when the whole copy comes."""
    lines = logged(curve_buy(), curve_buy(key(9))).logs or []
    cut = next(at for at, line in enumerate(lines) if "success" in line) + 1
    wishes = Wishes()
    stage = decoding(wishes)
    told = facts_of(take(stage, logged(curve_buy(), curve_buy(key(9)), truncate_after=cut)))
    assert [cast("Trade", fact).mint for fact in told] == [MINT]
    assert [need.reason for need in wishes.wanted] == ["truncated"]
    whole = msgspec.structs.replace(notice(curve_buy(), curve_buy(key(9))), signature="s", slot=100, feed="fetch")
    again = facts_of(take(stage, whole))
    assert [cast("Trade", fact).mint for fact in again] == [MINT, key(9)]
    assert identity(again[0]) == identity(told[0]), "the database finds it there already"
    assert len(stage.pending) == 0


async def test_one_subscription_waits_for_nobody() -> None:
    """A feed that is not subscribed claims nothing; two feeds are told apart."""
    stage = decoding(Wishes())
    assert take(stage, SlotSeen(9, 8, 5, "other")) == []
    assert take(stage, FeedUp("logs", 5)) == [Progress(feed="logs", slot=4)]
    assert stage.subscribed.is_set()
    assert take(stage, SlotSeen(9, 8, 7, "other"), slots(7)) == [Progress(feed="logs", slot=7)]
    assert take(stage, FeedDown("logs", "gone"), slots(9)) == []
    assert stage.ledger.head_slot == 41


# What waits for a pool.


@needs_data
async def test_a_recorded_sell_waits_for_its_pool() -> None:
    """An unknown PumpSwap pool is asked for, and its account tells the sell's mint."""
    whole = mainnet_copy("pumpswap_sell_routed.json")
    wishes = Wishes()
    stage = decoding(wishes)
    assert take(stage, as_told(whole)) == []
    account = mainnet_account("pumpswap_pool_boosted")
    assert wishes.wanted == [Need(whole.signature, whole.slot, "pool", "pumpswap", account.address)]
    (sell,) = facts_of(take(stage, account))
    (known,) = facts_of(take(decoding(), whole))
    assert isinstance(sell, Trade)
    assert isinstance(known, Trade)
    assert (sell.mint, sell.trader, sell.base_amount) == (known.mint, known.trader, known.base_amount)
    assert len(stage.pending) == 0
    assert facts_of(take(stage, as_told(whole))), "the pool is known from now on"


@needs_data
async def test_a_recorded_migration_is_told_before_its_first_buy() -> None:
    """The graduation and the new pool are told at once, the buy once the pool's account came, and nothing twice."""
    whole = mainnet_copy("pump_migrate_pumpswap_create_pool.json")
    wishes = Wishes()
    stage = decoding(wishes)
    at_once = facts_of(take(stage, as_told(whole)))
    assert [type(fact) for fact in at_once] == [Graduation, PoolCreated]
    assert isinstance(at_once[0], Graduation)
    later = [
        fact for need in wishes.wanted for fact in facts_of(take(stage, pool_account(str(need.pool), at_once[0].mint)))
    ]
    assert [type(fact) for fact in later] == [Trade]
    (by_whole,) = {identity(fact) for fact in facts_of(take(decoding(), whole))} - set(map(identity, at_once))
    assert identity(later[0]) == by_whole
    assert len(stage.pending) == 0


async def test_pools_are_told_in_the_order_of_the_chain() -> None:
    """What waited for a pool comes slot by slot, and inside a slot as it arrived."""
    stage = decoding(Wishes())
    places = [(slot, arrival) for slot in (102, 100, 101) for arrival in (3, 1, 4, 2)]
    for slot, arrival in places:
        take(stage, logged(pool_sell(), signature=f"{slot}.{arrival}", slot=slot, arrival=arrival))
    told = facts_of(take(stage, pool_account()))
    assert [(fact.slot, fact.arrival) for fact in told] == sorted(places)


async def test_only_what_was_not_told_before_is_told() -> None:
    """A transaction that waits for two pools tells each of its trades once, at the first moment at which it can."""
    wishes = Wishes()
    stage = decoding(wishes)
    other = key(7)
    mints = [
        [(cast("Trade", fact).venue, cast("Trade", fact).mint) for fact in facts_of(take(stage, told))]
        for told in (
            logged(curve_buy(), pool_sell(), pool_sell(other), pool_sell()),
            pool_account(other, key(8)),
            pool_account(),
            pool_account(),
        )
    ]
    assert mints == [[("pumpfun", MINT)], [("pumpswap", key(8))], [("pumpswap", MINT), ("pumpswap", MINT)], []]
    assert {need.pool for need in wishes.wanted} == {POOL, other}
    assert len(stage.pending) == 0


@pytest.mark.parametrize(
    "account",
    [
        AccountSeen(POOL, None, b"", 1, "fetch"),
        AccountSeen(POOL, key(50), b"what is this", 1, "fetch"),
        AccountSeen(POOL, SWAP.address, b"short", 1, "fetch"),
    ],
    ids=["gone", "of another program", "unreadable"],
)
async def test_without_its_account_the_whole_copy_is_asked_for(account: AccountSeen) -> None:
    """The instruction's accounts tell the mints as well; until then the transaction waits."""
    wishes = Wishes()
    stage = decoding(wishes)
    take(stage, FeedUp("logs", 90), logged(pool_sell()))
    wishes.wanted.clear()
    assert take(stage, account) == []
    assert [(need.signature, need.slot, need.pool) for need in wishes.wanted] == [("s", 100, None)]
    assert take(stage, slots(120)) == [Progress(feed="logs", slot=99)]


# What cannot be had.


async def test_what_cannot_be_fetched_is_a_hole() -> None:
    """The hole goes before the progress that it lets pass; a second giving up adds nothing."""
    stage = decoding(Wishes())
    take(stage, FeedUp("logs", 90), logged(pool_sell()))
    gave_up = FetchGaveUp("s", 100, "the node does not have it", "fetch")
    hole = Hole(
        first_slot=100, last_slot=100, reason="not_fetched", signature="s", feed="logs",
        last_error="the node does not have it",
    )  # fmt: skip
    assert take(stage, slots(95), gave_up, gave_up, slots(110)) == [
        Progress(feed="logs", slot=95),
        hole,
        Progress(feed="logs", slot=110),
    ]


async def test_what_waits_at_the_end_is_a_hole() -> None:
    """Nothing is forgotten at a stop."""
    stage = decoding(Wishes())
    take(stage, logged(pool_sell(), signature="a"), logged(pool_sell(key(5)), signature="b", slot=101))
    holes = stage.drain()
    assert [(hole.signature, hole.first_slot, hole.reason) for hole in holes if isinstance(hole, Hole)] == [
        ("a", 100, "stopped_before_fetched"),
        ("b", 101, "stopped_before_fetched"),
    ]
    assert stage.drain() == []
    assert stage.ledger.left_open == 2


# The simulated market, through all of it.


def heard_of(whole: Sequence[TxNotice], *, by_program: bool) -> Iterator[TxNotice]:
    """Yield a market's log notifications: each transaction once, or slot by slot and in it program by program."""
    for _, found in groupby(whole, key=lambda notice: notice.slot):
        block = list(found)
        if not by_program:
            yield from (as_told(copy, arrival) for arrival, copy in enumerate(block, 1))
            continue
        for program in sorted(ALL.followed):
            named = [copy for copy in block if program in {invoke.program for invoke in copy.invokes or ()}]
            for arrival, copy in enumerate(named, 1):
                yield msgspec.structs.replace(as_told(copy, arrival), program=program)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by_program", [False, True])
async def test_logs_and_fetches_tell_what_blocks_tell(seed: int, by_program: bool) -> None:
    """
    The log feed and what is fetched tell the same facts as whole blocks, in whatever order a node answers.

    Every fact that progress covers was told before it, and at the end nothing waits.
    """
    given = market.recorded(seed + 11)
    by_blocks = [fact for whole in given.whole for fact in decoding().take(whole)]
    slot_of = {identity(fact): fact.slot for fact in facts_of(by_blocks)}
    rng = Random(seed)
    wishes = Wishes()
    stage = decoding(wishes)
    told: dict[Any, Fact] = {}
    heard = deque(heard_of(given.whole, by_program=by_program))
    answers: list[Need] = []
    furthest = given.whole[0].slot - 1

    def put(notice: Notice) -> None:
        for item in stage.take(notice):
            if isinstance(item, Progress):
                late = {key for key, slot in slot_of.items() if furthest < slot <= item.slot} - set(told)
                assert not late, f"progress {item.slot} passed {late}"
            else:
                (fact,) = facts_of([item])
                told[identity(fact)] = fact
        answers.extend(need for need in wishes.wanted if need not in answers)
        wishes.wanted.clear()

    put(FeedUp("logs", furthest))
    while heard or answers:
        if heard and rng.random() < 0.8:
            copy = heard.popleft()
            put(copy)
            if not heard or heard[0].slot > copy.slot:
                put(slots(copy.slot))
        elif answers:
            put(given.answer(answers.pop(rng.randrange(len(answers)))))
    put(slots(given.whole[-1].slot))

    assert set(told) == set(slot_of)
    whole_facts = {identity(fact): fact for fact in facts_of(by_blocks)}
    for identity_, fact in told.items():
        if isinstance(fact, Trade):
            other = cast("Trade", whole_facts[identity_])
            for name in ("mint", "pool", "trader", "side", "base_amount", "quote_amount", "mark_base", "mark_quote"):
                assert getattr(fact, name) == getattr(other, name), (identity_, name)
    assert len(stage.pending) == 0
    assert stage.feeds.told("logs", given.whole[-1].slot, None) is None, "progress is at the end"
    ledger = stage.ledger
    assert ledger.received == ledger.decoded + ledger.failed + ledger.irrelevant
    assert ledger.failed or by_program, "a failed copy does not tell its programs"


# The stage as a task.


async def run(
    notices: Sequence[object], *, live: int | None = 1000, durable: int = 100_000, stage: Decoding | None = None
) -> tuple[list[object], list[object], int]:
    """Return what the stage put into durable and live, and how many it dropped of the latter."""
    out: Channel[object] = Channel(durable, "durable")
    watched: Channel[object] | None = None if live is None else Channel(live, "live")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(decode(filled(notices, "wire"), out, watched, stage or decoding()))  # type: ignore[arg-type]  # a channel of anything
        taken = tasks.create_task(emptied(out))
    return taken.result(), [] if watched is None else await emptied(watched), 0 if watched is None else watched.dropped


async def test_a_closed_wire_is_read_dry() -> None:
    """All that waited is told, what still lacks something is a hole at the very end, and both outputs are closed."""
    given = [FeedUp("logs", 90), logged(pool_sell(), signature="a"), logged(curve_buy(), signature="b"), slots(120)]
    durable, live, _ = await run(given)
    assert [type(item).__name__ for item in durable] == ["Progress", "Trade", "Progress", "Hole", "Progress"]
    assert [cast("Trade", item).signature for item in live] == ["b"]


async def test_only_news_is_announced() -> None:
    """Launches, trades, completions and graduations of now: no other events, no faults, nothing that fills holes."""
    given = market.recorded(11).whole
    durable, live, _ = await run(given, live=100_000)
    kinds = {fact.kind for fact in facts_of(durable)}
    assert kinds >= {"launch", "trade", "other"}
    assert live == [item for item in facts_of(durable) if item.kind not in ("other", "pool_created", "fault")]
    durable, live, _ = await run([msgspec.structs.replace(whole, feed=HISTORY) for whole in given])
    assert facts_of(durable)
    assert live == []


async def test_nothing_is_announced_twice() -> None:
    """What a cut log told is told again by its whole copy: for the database that is richer, for people it is old."""
    cut = logged(curve_buy(), curve_buy(key(9)), truncate_after=3)
    whole = msgspec.structs.replace(notice(curve_buy(), curve_buy(key(9))), signature="s", slot=100, feed="fetch")
    durable, live, _ = await run([cut, whole])
    assert len(facts_of(durable)) == 3
    assert [cast("Trade", item).mint for item in live] == [MINT, key(9)]


async def test_who_watches_slowly_holds_up_nobody() -> None:
    """The live branch keeps the newest and counts what it dropped; the durable one has everything."""
    given = [logged(curve_buy(), signature=str(number)) for number in range(50)]
    durable, live, dropped = await run(given, live=3)
    assert [cast("Trade", item).signature for item in durable] == [str(number) for number in range(50)]
    assert [cast("Trade", item).signature for item in live] == ["47", "48", "49"]
    assert dropped == 47


async def test_a_full_durable_branch_holds_the_stage_up() -> None:
    """Nothing is dropped there: the stage waits, and the wire fills."""
    wire = filled([logged(curve_buy(), signature=str(number)) for number in range(9)], "wire")
    durable: Channel[object] = Channel(2, "durable")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(decode(wire, durable, None, decoding()))  # type: ignore[arg-type]  # a channel of anything
        for _ in range(20):
            await asyncio.sleep(0)
        assert (len(wire), len(durable)) == (6, 2)
        told = await emptied(durable)
    assert len(told) == 9


async def test_ready_notices_leave_others_their_turn() -> None:
    """A full wire does not stop the event loop: another task runs many times meanwhile."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    wire = filled([slots(number) for number in range(2_000)], "wire")
    task = asyncio.create_task(other())
    await decode(wire, Channel(5_000, "durable"), None, decoding())  # type: ignore[arg-type]  # a channel of anything
    task.cancel()
    assert turns >= 20


async def test_a_bug_closes_the_outputs() -> None:
    """Whoever reads them ends, and the error is seen."""
    durable: Channel[Any] = Channel(10, "durable")
    live: Channel[Any] = Channel(10, "live")
    stage = decoding()
    stage.pools = cast("Any", None)
    with pytest.raises(AttributeError):
        await decode(cast("Any", filled([logged(curve_buy())], "wire")), durable, live, stage)
    assert durable.closed
    assert live.closed


async def test_a_filled_hole_waits_for_what_its_facts_wait_for() -> None:
    """The hole counts as filled behind the facts that filled it."""
    whole = msgspec.structs.replace(logged(pool_sell()), feed=HISTORY)
    stage = decoding(Wishes())
    assert take(stage, whole, HoleFilled(4, 100, 100)) == []
    told = take(stage, pool_account())
    assert [type(item).__name__ for item in told] == ["Trade", "Filled"]
    assert told[1] == Filled(by=HISTORY, hole_id=4)


async def test_a_block_tells_how_far_its_feed_is_and_when_that_was() -> None:
    """Everything of the block stands before it, so that its own slot is told; its time goes along."""
    stage = decoding(Wishes())
    block = BlockSeen(105, 104, "hash", "parent's", TIME_S, "blocks")
    assert take(stage, FeedUp("blocks", 105), block)[1:] == [Progress(feed="blocks", slot=105, block_time=TIME_S)]
    assert stage.ledger.head_slot == 105


async def test_faults_and_surplus_bytes_are_counted() -> None:
    """A known program that says something unknown is a fault of its venue; what follows a known event is counted."""
    odd = Call(PUMP.address, b"", (), (Event(b"whatever this is", "log"),))
    stage = decoding()
    (fault,) = facts_of(take(stage, logged(odd)))
    assert fault.kind == "fault"
    assert stage.ledger.faults == {("pumpfun", "unknown_discriminator"): 1}
    event = curve_buy().inside[0]
    assert isinstance(event, Event)
    longer = Call(PUMP.address, b"", (), (Event(event.data + b"\1\2\3", "log"),))
    take(stage, logged(longer))
    assert stage.ledger.tail_bytes == {"pumpfun": 3}
    assert stage.ledger.newest_time == TIME_S


def test_what_was_told_is_forgotten_in_time() -> None:
    """The newest are remembered, oldest forgotten first; in another slot it is another landing."""
    told = Told(size=2)
    first, second, third = (trade(nth=number) for number in range(3))
    assert [told.is_new(fact) for fact in (first, first, second, third, third, first)] == [
        True, False, True, True, False, True,
    ]  # fmt: skip
    assert told.is_new(trade(nth=0, slot=101))
