"""What sources put out besides transactions: how far a feed is, and what it could not do."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import msgspec

from decoders.core.types import TxNotice

HISTORY = "history"
"""The feed of what is fetched afterwards, to fill holes."""
FETCH = "fetch"
"""The feed of what is fetched since a feed could not tell all of it."""


class SlotSeen(msgspec.Struct, frozen=True, tag=True):
    """
    The node began to work on `slot`.

    `root` is final. A notification feed that was up since then claims to have told everything through
    `complete_through`; None: through the root.
    """

    slot: int
    parent: int
    root: int
    feed: str
    complete_through: int | None = None


class BlockSeen(msgspec.Struct, frozen=True, tag=True):
    """
    Every notice of the block of `slot` stands before this. The parent's slot and hash prove what was skipped.

    `unreadable` of its transactions could not be read: the block is not told completely.
    """

    slot: int
    parent_slot: int
    blockhash: str
    previous_blockhash: str
    block_time: int | None
    feed: str
    unreadable: int = 0


class FeedUp(msgspec.Struct, frozen=True, tag=True):
    """Every subscription is acknowledged: whatever lands in `subscribed_at_slot` or later will be told."""

    feed: str
    subscribed_at_slot: int


class FeedDown(msgspec.Struct, frozen=True, tag=True):
    """The connection of a feed that was subscribed is gone: from here on things are missed until its next `FeedUp`."""

    feed: str
    reason: str


class FrameLost(msgspec.Struct, frozen=True, tag=True):
    """
    The node said something that could not be read: what it told lies in these slots (both ends included).

    `signature` is set where it was that one transaction. The feed claims nothing beyond `first_slot` before this.
    """

    feed: str
    first_slot: int
    last_slot: int
    signature: str | None = None


class AccountSeen(msgspec.Struct, frozen=True, tag=True):
    """An account that was asked for, as it was at `slot`. `owner` None: there is none at that address."""

    address: str
    owner: str | None
    data: bytes
    slot: int
    feed: str


class SlotTime(msgspec.Struct, frozen=True, tag=True):
    """The block of `slot` was made at `block_time` (Unix seconds)."""

    slot: int
    block_time: int
    feed: str


class FetchGaveUp(msgspec.Struct, frozen=True, tag=True):
    """A whole copy of a transaction was wanted and could not be had: what it says is missed, for `reason`."""

    signature: str
    slot: int
    reason: str
    feed: str


class HoleFilled(msgspec.Struct, frozen=True, tag=True):
    """Everything that was missing stands before this: all of the slots, or (`signature` set) one transaction."""

    hole_id: int
    first_slot: int
    last_slot: int
    signature: str | None = None
    by: str = HISTORY


class HolePart(msgspec.Struct, frozen=True, tag=True):
    """Everything of the hole from its first slot up to and including `through` stands before this."""

    hole_id: int
    through: int


class SlotSettled(msgspec.Struct, frozen=True, tag=True):
    """
    What the finalized chain holds at `slot`, proven by the parents of its blocks.

    `signatures` are the transactions of followed programs in it (none: no such one, or the slot was skipped); all of
    their notices stand before this. Whatever else is stored of that slot vanished with a fork. `block_time` is that of
    the first block at or after it (Unix seconds; None: not known).
    """

    slot: int
    signatures: tuple[str, ...]
    block_time: int | None = None


class SlotDoubted(msgspec.Struct, frozen=True, tag=True):
    """What is stored of `slot` may not be on the finalized chain: it is to be fetched again, and settled."""

    slot: int
    reason: str


class FinalBegins(msgspec.Struct, frozen=True, tag=True):
    """
    What is stored up to and including slot `through` is about to be compared with the finalized chain.

    Whatever stands before this is compared; what comes after it and is of such a slot is late, and a case by itself.
    """

    through: int


class FinalSeen(msgspec.Struct, frozen=True, tag=True):
    """Everything stored up to and including slot `through` was compared with the finalized chain, or is doubted."""

    through: int


class PayloadSeen(msgspec.Struct, frozen=True, tag=True):
    """
    An event's bytes that were kept because they could not be read (`fault_id`), or not to their end (`tail_id`).

    The other members are those of the fact that was stored; `kind` is the kind of that fact.
    """

    program: str
    event: str
    nth: int
    signature: str
    slot: int
    block_time: int | None
    index: int | None
    position: int
    payload: bytes
    kind: str = ""
    fault_id: int | None = None
    tail_id: int | None = None


class Restarted(msgspec.Struct, frozen=True, tag=True):
    """What stands before this was heard by an earlier life of the daemon: all of its connections are gone."""


class EndOfInput(msgspec.Struct, frozen=True, tag=True):
    """A feed that has an end reached it."""

    feed: str


Control: TypeAlias = (
    SlotSeen
    | BlockSeen
    | FeedUp
    | FeedDown
    | FrameLost
    | AccountSeen
    | SlotTime
    | FetchGaveUp
    | HoleFilled
    | HolePart
    | SlotSettled
    | SlotDoubted
    | FinalBegins
    | FinalSeen
    | PayloadSeen
    | Restarted
    | EndOfInput
)
Notice: TypeAlias = TxNotice | Control


class Journaled(msgspec.Struct, frozen=True):
    """
    A notice that stands in the journal under `seq`.

    `is_replayed` if it was read back after a start, `is_prompt` if it came without being read back at all.
    """

    seq: int
    notice: Notice
    is_replayed: bool = False
    is_prompt: bool = False


class Outlet(Protocol):
    """Where a source puts what it hears; a `Channel` is one."""

    async def put(self, item: Notice) -> None:
        """Take a notice; wait while there is no room."""


class Source(Protocol):
    """A feed of notices."""

    async def run(self, out: Outlet) -> None:
        """Put out notices until there are no more, or for ever. Ends when cancelled."""
