"""Plain counts that sources keep; metrics read them at each scrape."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass(slots=True)
class FeedTally:
    """
    Counts of one feed since the process started.

    Notices: `received` = `repeats` + `irrelevant` + `malformed` + `forwarded`. Strays belong to no subscription.
    `in_hand` of the forwarded ones are yet to be put into the outlet. `behind_slots`: how far a feed that asks for its
    blocks lies behind the node.
    """

    frames: int = 0
    frame_bytes: int = 0
    received: int = 0
    repeats: int = 0
    irrelevant: int = 0
    malformed: int = 0
    forwarded: int = 0
    in_hand: int = 0
    strays: int = 0
    connects: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    head_slot: int | None = None
    root_slot: int | None = None
    behind_slots: int = 0


@dataclass(slots=True)
class RpcTally:
    """Counts of one HTTP endpoint: requests by (method, outcome), seconds by method, bytes of all answers."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    answer_bytes: int = 0


@dataclass(slots=True)
class HistoryTally:
    """
    Counts of the filling of holes since the process started.

    Blocks and transactions of ours that were fetched; tries that `filled` a hole, and those that `failed`.
    """

    blocks: int = 0
    transactions: int = 0
    filled: int = 0
    failed: int = 0


@dataclass(slots=True)
class FinalityTally:
    """
    Counts of the comparison with the finalized chain since the process started.

    Rows of `compared` transactions, slots that were `doubted`, tries that `failed`; everything `through` a slot was
    compared (None: nothing yet).
    """

    through: int | None = None
    compared: int = 0
    doubted: int = 0
    failed: int = 0
