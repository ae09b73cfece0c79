"""Which feeds are up (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from monitor.sources.notices import EndOfInput, FeedDown, FeedUp, Restarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.sources.notices import Notice

_encoder = msgspec.msgpack.Encoder()


class UpFeeds:
    """The last `FeedUp` of each feed that has not gone down since."""

    def __init__(self, snapshot: bytes = b"") -> None:
        """Begin with none, or with those that `snapshot` returned."""
        self._slots: dict[str, int] = msgspec.msgpack.decode(snapshot, type=dict[str, int]) if snapshot else {}
        self._snapshot = snapshot or self._encoded()

    def __iter__(self) -> Iterator[str]:
        return iter(self._slots)

    def __contains__(self, feed: object) -> bool:
        return feed in self._slots

    def note(self, notice: Notice) -> None:
        """Take note of what a notice says of a feed."""
        match notice:
            case FeedUp(feed=feed, subscribed_at_slot=slot):
                self._slots[feed] = slot
            case FeedDown(feed=feed) | EndOfInput(feed=feed):
                self._slots.pop(feed, None)
            case Restarted():
                self._slots.clear()
            case _:
                return
        self._snapshot = self._encoded()

    def snapshot(self) -> bytes:
        """Return the state as bytes: what stands at the head of each segment of a journal."""
        return self._snapshot

    def notices(self) -> list[FeedUp]:
        """Return what says as much as all that was noted."""
        return [FeedUp(feed, slot) for feed, slot in self._slots.items()]

    def _encoded(self) -> bytes:
        return _encoder.encode(self._slots)
