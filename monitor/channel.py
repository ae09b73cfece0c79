"""A bounded first-in first-out queue between two stages."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from monitor.errors import Closed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

__all__ = ["Channel", "Closed"]

T = TypeVar("T")
Word = Literal["go", "closed", "late"]
Waiter: TypeAlias = "asyncio.Future[Word]"


class Channel(Generic[T]):
    """
    A bounded FIFO for the tasks of one event loop.

    Neither `put` into a channel with room nor `get` from one with items suspends the caller: a loop over ready items
    starves every other task, so it must `await asyncio.sleep(0)` now and then.

    Waiters are served in the order of their coming. Each one that is woken has a promise (a place to put, or an item to
    get) that nobody else can take before it runs, and that passes on if it is cancelled instead: a `put` that returned
    has put its item once, a `put` that raised has not, and an item leaves by exactly one `get`.
    """

    __slots__ = (
        "_closed",
        "_getters",
        "_items",
        "_promised_items",
        "_promised_places",
        "_putters",
        "capacity",
        "dropped",
        "name",
    )

    def __init__(self, capacity: int, name: str) -> None:
        """
        Make an empty, open channel.

        Args:
            capacity: Most items it holds, at least 1.
            name: What metrics and logs call it.
        """
        if capacity < 1:
            raise ValueError(f"channel {name}: capacity {capacity} is below 1")
        self.capacity: Final = capacity
        self.name: Final = name
        self.dropped = 0
        self._items: deque[T] = deque()
        self._getters: deque[Waiter] = deque()
        self._putters: deque[Waiter] = deque()
        self._promised_items = 0
        self._promised_places = 0
        self._closed = False

    def __len__(self) -> int:
        """Return how many items wait, those promised to a woken getter included."""
        return len(self._items)

    @property
    def closed(self) -> bool:
        """Tell whether `close` was called; items may still wait."""
        return self._closed

    async def put(self, item: T) -> None:
        """
        Append an item; wait while the channel is full. Cancelling is safe: the item is not in.

        Raises:
            Closed: If the channel is closed; the item is not in.
        """
        if self._closed:
            raise self._closed_error()
        if self._promised_places or len(self._items) >= self.capacity:
            await self._place()
        self._items.append(item)
        if self._getters or self._putters:
            self._settle()

    def put_nowait(self, item: T) -> bool:
        """
        Append an item at once if there is room that is promised to nobody; tell whether it is in.

        Raises:
            Closed: If the channel is closed; the item is not in.
        """
        if self._closed:
            raise self._closed_error()
        if self._promised_places or len(self._items) >= self.capacity:
            return False
        self._items.append(item)
        if self._getters:
            self._settle()
        return True

    def offer(self, item: T) -> bool:
        """
        Append an item at once; drop the oldest if the channel is full.

        Where every place is promised to a waiting `put`, there is no oldest to drop and `item` itself is dropped.

        Returns:
            True if nothing was dropped. Every drop counts in `dropped`.

        Raises:
            Closed: If the channel is closed.
        """
        if self._closed:
            raise self._closed_error()
        full = len(self._items) + self._promised_places >= self.capacity
        if full:
            self.dropped += 1
            if not self._items:
                return False
            self._items.popleft()
        self._items.append(item)
        if self._getters:
            self._settle()
        return not full

    async def get(self, until: float | None = None) -> T:
        """
        Return the oldest item. Cancelling is safe: no item is lost.

        Args:
            until: Loop time (s) at which to give up; None waits for ever.

        Raises:
            Closed: If the channel is closed and empty.
            TimeoutError: If nothing came until then.
        """
        if self._promised_items or not self._items:
            await self._item(until)
        item = self._items.popleft()
        if self._putters or self._getters:
            self._settle()
        return item

    def get_nowait_all(self, limit: int) -> list[T]:
        """Return the items that wait, oldest first and at most `limit`; [] if there are none, closed or not."""
        items = self._items
        count = min(limit, len(items) - self._promised_items)
        if count == len(items):
            taken = list(items)
            items.clear()
        else:
            taken = [items.popleft() for _ in range(count)]
        if self._putters:
            self._settle()
        return taken

    def waiting(self) -> Iterator[T]:
        """Yield what waits, oldest first, without taking it. Nothing may be put or taken meanwhile."""
        return iter(self._items)

    def close(self) -> None:
        """
        Let nothing more in. Waiting `put`s raise Closed; `get` goes on until the channel is empty.

        Closing twice changes nothing.
        """
        self._closed = True
        self._settle()

    def _closed_error(self) -> Closed:
        return Closed(f"channel {self.name} is closed")

    async def _place(self) -> None:
        """Wait for a promised place, and turn the promise into room for the caller's append."""
        waiter: Waiter = asyncio.get_running_loop().create_future()
        self._putters.append(waiter)
        try:
            word = await waiter
        except asyncio.CancelledError:
            if _forget(self._putters, waiter):
                self._promised_places -= 1
                self._settle()
            raise
        if word == "go":
            self._promised_places -= 1
        if self._closed:
            raise self._closed_error()

    async def _item(self, until: float | None) -> None:
        """Wait for a promised item, and turn the promise into the right of the caller's popleft."""
        if self._closed and not self._items:
            raise self._closed_error()
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        self._getters.append(waiter)
        timer = None if until is None else loop.call_at(until, _say, waiter, "late")
        try:
            word = await waiter
        except asyncio.CancelledError:
            if _forget(self._getters, waiter):
                self._promised_items -= 1
                self._settle()
            raise
        finally:
            if timer is not None:
                timer.cancel()
        match word:
            case "go":
                self._promised_items -= 1
            case "closed":
                raise self._closed_error()
            case "late":
                _forget(self._getters, waiter)
                raise TimeoutError(f"channel {self.name}: nothing came")

    def _settle(self) -> None:
        """Hand out every promise that can be kept, and send home those who wait for what will never come."""
        while self._getters and len(self._items) > self._promised_items:
            self._promised_items += _say(self._getters.popleft(), "go")
        while self._putters and self._closed:
            _say(self._putters.popleft(), "closed")
        while self._putters and len(self._items) + self._promised_places < self.capacity:
            self._promised_places += _say(self._putters.popleft(), "go")
        # A getter in waking may yet be cancelled and pass its item on: nobody goes home before it ran.
        while self._getters and self._closed and not self._items:
            _say(self._getters.popleft(), "closed")


def _say(waiter: Waiter, word: Word) -> bool:
    """Wake a waiter, unless it was woken or cancelled before; tell whether this did it."""
    if waiter.done():
        return False
    waiter.set_result(word)
    return True


def _forget(waiters: deque[Waiter], waiter: Waiter) -> bool:
    """Take a waiter that gave up out of its queue; tell whether it holds a promise, which must then pass on."""
    if waiter in waiters:
        waiters.remove(waiter)
    return waiter.done() and not waiter.cancelled() and waiter.result() == "go"
