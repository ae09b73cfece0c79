"""Channel: order, waiting, dropping, closing, and that no cancellation loses or doubles an item."""

# ruff: noqa: C901  one `match` over all operations reads best in one piece

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.channel import Channel
from monitor.errors import Closed

if TYPE_CHECKING:
    from collections.abc import Iterable

Task = asyncio.Task[int] | asyncio.Task[None]


async def quiet(turns: int = 12) -> None:
    """Let every task that can run do so, until all of them wait for something outside."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def test_items_leave_in_order_of_entry() -> None:
    """First in, first out, one by one and all at once, never more than asked for."""
    channel: Channel[int] = Channel(10, "c")
    for item in range(6):
        await channel.put(item)
    assert await channel.get() == 0
    assert channel.get_nowait_all(2) == [1, 2]
    assert channel.get_nowait_all(100) == [3, 4, 5]
    assert channel.get_nowait_all(100) == []
    assert len(channel) == 0


async def test_ready_put_and_get_make_no_future(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hot path needs nothing of the event loop: it neither makes a future nor suspends."""
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: pytest.fail("the loop was asked"))
    channel: Channel[int] = Channel(2, "c")
    for step in (channel.put(1), channel.put(2), channel.get(), channel.get()):
        with pytest.raises(StopIteration):
            step.send(None)


async def test_put_waits_for_room() -> None:
    """A full channel holds its producers back, in the order of their coming."""
    channel: Channel[int] = Channel(1, "c")
    await channel.put(0)
    putters = [asyncio.create_task(channel.put(item)) for item in (1, 2, 3)]
    await quiet()
    assert not any(task.done() for task in putters)
    assert [await channel.get() for _ in range(4)] == [0, 1, 2, 3]
    await asyncio.gather(*putters)


async def test_newcomer_does_not_overtake_a_woken_producer() -> None:
    """Between being woken and running, a producer keeps its place before a later one."""
    channel: Channel[int] = Channel(2, "c")
    await channel.put(0)
    await channel.put(1)
    first = asyncio.create_task(channel.put(2))
    await quiet()
    assert channel.get_nowait_all(9) == [0, 1]
    await channel.put(3)
    await first
    assert channel.get_nowait_all(9) == [2, 3]


async def test_offer_drops_the_oldest_and_counts() -> None:
    """`offer` never waits: what is full loses its head, and says so."""
    channel: Channel[int] = Channel(2, "c")
    assert [channel.offer(item) for item in range(4)] == [True, True, False, False]
    assert channel.dropped == 2
    assert channel.get_nowait_all(9) == [2, 3]


async def test_offer_wakes_a_getter() -> None:
    """An offered item reaches the one who waits for it."""
    channel: Channel[int] = Channel(1, "c")
    getter = asyncio.create_task(channel.get())
    await quiet()
    assert channel.offer(7)
    assert await getter == 7


async def test_offer_where_every_place_is_promised_drops_itself() -> None:
    """A producer that was woken keeps its place; the offered item is the one that is dropped."""
    channel: Channel[int] = Channel(1, "c")
    await channel.put(0)
    producer = asyncio.create_task(channel.put(1))
    await quiet()
    assert channel.get_nowait_all(1) == [0]
    assert channel.offer(2) is False
    await producer
    assert (channel.dropped, channel.get_nowait_all(9)) == (1, [1])


async def test_get_gives_up_at_its_time() -> None:
    """`until` raises TimeoutError when nothing came, leaves nothing behind, and is no bar to what is there."""
    channel: Channel[int] = Channel(1, "c")
    now = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await channel.get(until=now + 0.01)
    assert not channel._getters
    await channel.put(1)
    assert await channel.get(until=now - 1) == 1
    with pytest.raises(TimeoutError):
        await channel.get(until=now - 1)
    await channel.put(2)
    assert await channel.get() == 2


async def test_item_arriving_with_the_timeout_is_kept() -> None:
    """Timeout first, item second, both before the getter runs: the item stays for the next one."""
    channel: Channel[int] = Channel(1, "c")
    getter = asyncio.create_task(channel.get(until=asyncio.get_running_loop().time()))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.call_at(loop.time(), channel.offer, 5)
    with pytest.raises(TimeoutError):
        await getter
    assert await channel.get() == 5


async def test_close_lets_readers_finish_and_sends_writers_home() -> None:
    """After `close` nothing enters, waiting producers hear of it, and what is in still comes out."""
    channel: Channel[int] = Channel(1, "c")
    await channel.put(1)
    producer = asyncio.create_task(channel.put(2))
    await quiet()
    channel.close()
    channel.close()
    with pytest.raises(Closed):
        await producer
    with pytest.raises(Closed):
        await channel.put(3)
    with pytest.raises(Closed):
        channel.offer(4)
    assert channel.closed
    assert await channel.get() == 1
    with pytest.raises(Closed, match="channel c is closed"):
        await channel.get()
    assert channel.get_nowait_all(5) == []


async def test_close_wakes_waiting_getters() -> None:
    """A getter that waits on an empty channel ends when it is closed."""
    channel: Channel[int] = Channel(1, "c")
    getter = asyncio.create_task(channel.get())
    await quiet()
    channel.close()
    with pytest.raises(Closed):
        await getter


async def test_producer_woken_just_before_close_is_refused() -> None:
    """A promise of room does not outlive `close`: the producer is told that its item is not in."""
    channel: Channel[int] = Channel(1, "c")
    await channel.put(0)
    producer = asyncio.create_task(channel.put(1))
    await quiet()
    assert channel.get_nowait_all(1) == [0]
    channel.close()
    with pytest.raises(Closed):
        await producer
    with pytest.raises(Closed):
        await channel.get()


async def test_item_of_a_getter_cancelled_in_waking_passes_on() -> None:
    """Also after `close`: the last item goes to the next getter, not to nobody."""
    channel: Channel[int] = Channel(1, "c")
    first, second = (asyncio.create_task(channel.get()) for _ in range(2))
    await quiet()
    channel.offer(1)
    channel.close()
    first.cancel()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_newcomer_after_close_waits_for_what_may_pass_on() -> None:
    """A getter that comes while the last item is promised gets it if the promise fails, and hears Closed if not."""
    for cancelled in (True, False):
        channel: Channel[int] = Channel(1, "c")
        first = asyncio.create_task(channel.get())
        await quiet()
        newcomer = asyncio.create_task(channel.get())  # runs before `first` does, which is woken later
        channel.offer(1)
        channel.close()
        if cancelled:
            first.cancel()
        await quiet()
        assert result(newcomer) == (1 if cancelled else Closed)
        assert result(first) == (asyncio.CancelledError if cancelled else 1)


async def test_place_of_a_producer_cancelled_in_waking_passes_on() -> None:
    """A producer cancelled after it was woken has not put its item, and the next one may."""
    channel: Channel[int] = Channel(1, "c")
    await channel.put(0)
    first, second = (asyncio.create_task(channel.put(item)) for item in (1, 2))
    await quiet()
    assert channel.get_nowait_all(1) == [0]
    first.cancel()
    await second
    assert first.cancelled()
    assert channel.get_nowait_all(9) == [2]


def test_capacity_below_one_is_refused() -> None:
    """A channel that can hold nothing is a mistake of its maker."""
    with pytest.raises(ValueError, match="capacity 0"):
        Channel(0, "c")


Op = tuple[Literal["put", "get", "late", "offer", "all", "cancel", "close"], int]
OPS = st.lists(
    st.tuples(
        st.sampled_from(["put"] * 4 + ["get"] * 4 + ["late", "offer", "all", "all", "cancel", "cancel", "close"]),
        st.integers(0, 5),
    ),
    max_size=60,
)


@dataclass
class Model:
    """What a channel does, said with plain queues: who waits, what is in, what came of each call (by its number)."""

    capacity: int
    items: deque[int] = field(default_factory=deque)
    putters: deque[int] = field(default_factory=deque)
    getters: deque[int] = field(default_factory=deque)
    outcome: dict[int, object] = field(default_factory=dict)
    closed: bool = False
    dropped: int = 0

    def settle(self) -> None:
        """Serve whoever can be served, in order."""
        while True:
            if self.getters and self.items:
                self.outcome[self.getters.popleft()] = self.items.popleft()
            elif self.putters and self.closed:
                self.outcome[self.putters.popleft()] = Closed
            elif self.putters and len(self.items) < self.capacity:
                call = self.putters.popleft()
                self.items.append(call)
                self.outcome[call] = None
            elif self.getters and self.closed:
                self.outcome[self.getters.popleft()] = Closed
            else:
                return

    def step(self, kind: str, call: int, number: int) -> None:
        """Do one operation; `call` numbers it, and is also the item that it puts."""
        match kind:
            case "put":
                self.putters.append(call)
            case "get":
                self.getters.append(call)
            case "late":
                if self.items:
                    self.outcome[call] = self.items.popleft()
                else:
                    self.outcome[call] = Closed if self.closed else TimeoutError
            case "offer" if self.closed:
                self.outcome[call] = Closed
            case "offer":
                self.outcome[call] = len(self.items) < self.capacity
                if len(self.items) == self.capacity:
                    self.items.popleft()
                    self.dropped += 1
                self.items.append(call)
            case "all":
                self.outcome[call] = [self.items.popleft() for _ in range(min(number, len(self.items)))]
            case "cancel":
                waiting = sorted([*self.putters, *self.getters])
                if waiting:
                    gone = waiting[number % len(waiting)]
                    for queue in (self.putters, self.getters):
                        if gone in queue:
                            queue.remove(gone)
                    self.outcome[gone] = asyncio.CancelledError
            case "close":
                self.closed = True
        self.settle()


def result(task: Task) -> object:
    """Return what a finished call returned, or the class of what it raised."""
    if task.cancelled():
        return asyncio.CancelledError
    error = task.exception()
    return task.result() if error is None else type(error)


def result_kind(task: Task) -> object:
    """Return the class of what a finished call returned or raised."""
    said = result(task)
    return said if isinstance(said, type) else type(said)


def waiting_of(tasks: Iterable[Task]) -> list[Task]:
    """Return the calls that are still waiting."""
    return [task for task in tasks if not task.done()]


@settings(max_examples=200, deadline=None)
@given(OPS, st.integers(1, 3))
def test_equals_the_model_when_calls_come_one_by_one(ops: list[Op], capacity: int) -> None:
    """With everybody at rest between two calls, each call's outcome is that of plain queues."""

    async def scenario() -> None:
        channel: Channel[int] = Channel(capacity, "c")
        model = Model(capacity)
        calls: dict[int, Task] = {}
        for call, (kind, number) in enumerate(ops):
            said: object = None
            match kind:
                case "put":
                    calls[call] = asyncio.create_task(channel.put(call))
                case "get":
                    calls[call] = asyncio.create_task(channel.get())
                case "late":
                    calls[call] = asyncio.create_task(channel.get(until=0.0))
                case "offer":
                    try:
                        said = channel.offer(call)
                    except Closed:
                        said = Closed
                case "all":
                    said = channel.get_nowait_all(number)
                case "cancel":
                    waiting = [task for task in calls.values() if not task.done()]
                    if waiting:
                        waiting[number % len(waiting)].cancel()
                case "close":
                    channel.close()
            model.step(kind, call, number)
            await quiet()
            if said is not None:
                assert said == model.outcome[call]
            done = {number: result(task) for number, task in calls.items() if task.done()}
            assert done == {number: model.outcome[number] for number in calls if number in model.outcome}
            assert len(channel) == len(model.items)
            assert channel.dropped == model.dropped
        for task in calls.values():
            task.cancel()
        await asyncio.gather(*calls.values(), return_exceptions=True)

    asyncio.run(scenario())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(OPS, st.integers(0, 3)), max_size=6), st.integers(1, 3))
def test_never_loses_doubles_or_reorders_whatever_is_cancelled(
    bursts: list[tuple[list[Op], int]], capacity: int
) -> None:
    """
    With calls, wakings and cancellations in any interleaving, each accepted item comes out once, in order of entry.

    A put that returned has put its item, one that raised has not; dropped items are the only ones missing.
    """

    async def scenario() -> None:
        channel: Channel[int] = Channel(capacity, "c")
        out: list[int] = []
        puts: dict[int, Task] = {}
        gets: list[asyncio.Task[int]] = []
        offered: set[int] = set()
        mixed = False

        async def get(until: float | None) -> int:
            item = await channel.get(until)
            out.append(item)
            return item

        call = 0
        for ops, ticks in bursts:
            for kind, number in ops:
                call += 1
                match kind:
                    case "put":
                        puts[call] = asyncio.create_task(channel.put(call))
                    case "get":
                        gets.append(asyncio.create_task(get(None)))
                    case "late":
                        gets.append(asyncio.create_task(get(0.0)))
                    case "offer" if not channel.closed:
                        mixed = True
                        channel.offer(call)
                        offered.add(call)
                    case "all":
                        out.extend(channel.get_nowait_all(number))
                    case "cancel":
                        tasks: list[Task] = [*puts.values(), *gets]
                        if tasks:
                            tasks[number * 7 % len(tasks)].cancel()
                    case "close" if number == 0:
                        channel.close()
                assert len(channel) <= capacity
            for _ in range(ticks):
                await asyncio.sleep(0)
        await quiet(call * 3)
        assert channel.closed or not waiting_of(puts.values()) or len(channel) == capacity
        assert len(channel) == 0 or not waiting_of(gets)
        assert not (channel.closed and waiting_of([*puts.values(), *gets]))
        for task in gets:
            task.cancel()
        await asyncio.gather(*gets, return_exceptions=True)
        assert {result_kind(task) for task in gets} <= {int, Closed, TimeoutError, asyncio.CancelledError}
        while taken := channel.get_nowait_all(2):
            out.extend(taken)
            await quiet()
        channel.close()
        await asyncio.gather(*puts.values(), return_exceptions=True)

        accepted = {call for call, task in puts.items() if result(task) is None} | offered
        assert len(out) == len(set(out))
        assert set(out) <= accepted
        assert len(accepted) - len(out) == channel.dropped
        if not mixed:
            assert out == sorted(out)

    asyncio.run(scenario())


async def test_put_nowait_takes_only_room_that_is_promised_to_nobody() -> None:
    """It never overtakes a `put` that waits, drops nothing, and feeds a `get` that waits."""
    channel: Channel[int] = Channel(1, "test")
    waiting = asyncio.create_task(channel.get())
    await asyncio.sleep(0)
    assert channel.put_nowait(1)
    assert await waiting == 1
    assert channel.put_nowait(2)
    assert not channel.put_nowait(3)
    putting = asyncio.create_task(channel.put(4))
    await asyncio.sleep(0)
    assert await channel.get() == 2
    assert not channel.put_nowait(5)
    await putting
    assert channel.get_nowait_all(9) == [4]
    channel.close()
    with pytest.raises(Closed):
        channel.put_nowait(6)
