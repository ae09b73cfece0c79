"""What goes into one commit, and what is known after it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from decoders.core.types import Fact, Fault

EVERY_PROGRAM = "*"
SKIPPED_BY_START = "skipped_by_start"
"""The reason of a hole that was left on purpose: nobody tries to fill it."""
TOLD_AFTER_FINAL = "told_after_final"
"""The reason of a hole whose slot has rows that came after it was final: they are checked against the chain."""

BEYOND_RETENTION = "beyond_retention"
"""
What the reason of a refused trade ends with that is older than the horizon (`Store.move_horizon`).

Its candles are made, and the trades that they were made of are dropped, or about to be: they would be made again of
less.
"""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of `program` that `feed` can tell is committed up to and including `slot`. It never moves back."""

    feed: str
    slot: int
    program: str = EVERY_PROGRAM
    block_time: int | None = None
    blockhash: str | None = None


class Hole(msgspec.Struct, frozen=True, kw_only=True):
    """
    Something known to be missing: all of the slots, or (`signature` set) one transaction in them.

    `reason` is one of few words; `last_error` is whatever somebody said who was asked for it.
    """

    first_slot: int
    last_slot: int
    reason: str
    signature: str | None = None
    feed: str = ""
    program: str = EVERY_PROGRAM
    last_error: str | None = None


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What was missing is committed with this batch: the hole of that id."""

    by: str
    hole_id: int


class FilledPart(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of the hole from its first slot up to and including `through` is committed with this batch."""

    hole_id: int
    through: int


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of the journal of that id up to and including number `seq` is committed with this batch."""

    journal_id: str
    seq: int


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the finalized chain holds at `slot`: the transactions of followed programs with these signatures.

    Rows of others in that slot become void, and those of these are void no longer. `block_time` is about when that was
    (Unix seconds): without it pieces of all times are looked through.
    """

    slot: int
    signatures: tuple[str, ...]
    block_time: int | None = None


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """Everything stored up to and including slot `through` was compared with the finalized chain."""

    through: int


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What was kept of an event is told with this batch, or (`by` "hole") will be: a fault's row, or a tail's."""

    by: str
    fault_id: int | None = None
    tail_id: int | None = None


class Comparing(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored up to and including slot `through` is about to be compared with the finalized chain."""

    through: int


class Late(msgspec.Struct, frozen=True, kw_only=True):
    """A feed told facts of `slot` after that slot was final."""

    slot: int


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Facts in the order of their arrival, and what their commit makes true. Repeat it with the same `batch_id`.

    `late` are slots of facts that a feed told after these slots were final: one that is new is a hole, to be checked.
    After a commit with `comparing_through` all that is not late up to that slot is stored; the database has no part in
    this.
    """

    facts: Sequence[Fact] = ()
    progress: Sequence[Progress] = ()
    holes: Sequence[Hole] = ()
    filled: Sequence[Filled] = ()
    parts: Sequence[FilledPart] = ()
    settled: Sequence[Settled] = ()
    resolved: Sequence[Resolved] = ()
    final: Final | None = None
    comparing_through: int | None = None
    done: Done | None = None
    late: frozenset[int] = frozenset()
    batch_id: uuid.UUID = field(default_factory=uuid.uuid4)

    @property
    def is_noted(self) -> bool:
        """
        Whether the database keeps its id, and so knows if it was committed, and is still.

        Without any other nothing is missed: it comes again, or the next one says as much.
        """
        return bool(self.facts or self.settled or self.holes)


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A stored fact that a later copy told more about. `old` is None where the fact lives in a token or pool."""

    old: Fact | None
    new: Fact


@dataclass(frozen=True, slots=True)
class Written:
    """
    What one commit did, each list in the order of the facts given; every fact given is in exactly one list.

    `new` holds the richest copy where the batch had several (the others are duplicates). `refused` are those the
    database cannot hold, as the Fault that was stored instead; a Fault that was given counts as new or duplicate.
    `other` facts only touch what they name. `batch_no` is None for a batch without facts and settled slots.

    `voided` are stored trades that vanished with a fork (take them off), `revived` those that stand again without being
    told again (add them; one that was told again is `new`). Both have an empty `program`. What one batch brings as well
    as voids is in `new` and in `voided`.
    """

    batch_no: int | None
    new: list[Fact] = field(default_factory=list)
    upgraded: list[Upgraded] = field(default_factory=list)
    duplicates: list[Fact] = field(default_factory=list)
    refused: list[Fault] = field(default_factory=list)
    other: list[Fact] = field(default_factory=list)
    voided: list[Fact] = field(default_factory=list)
    revived: list[Fact] = field(default_factory=list)
