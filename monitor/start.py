"""Where a daemon begins: what `start` asks for, against what the database holds and the node has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import msgspec

from monitor.errors import ConfigError, RequestFailed
from monitor.sources import rpc
from monitor.sources.since import slot_ago
from monitor.store.batch import EVERY_PROGRAM

if TYPE_CHECKING:
    from collections.abc import Iterable

    from monitor.config import Start
    from monitor.sources.clients import Rpc


COMPARED_BACK_SLOTS = 512
"""How far back rows are compared with the chain that were never."""


class Told(Protocol):
    """How far a feed is complete in the database."""

    @property
    def program(self) -> str:
        """Of which program."""

    @property
    def slot(self) -> int:
        """Up to and including which slot."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """
    Where feeds go on.

    Everything through slot `through` is there (None: nothing was promised yet). What lies behind it up to
    `left_out_through` is left out on purpose; what lies behind that is to be fetched.
    """

    EVERYTHING: ClassVar[int] = (1 << 63) - 1

    through: int | None = None
    left_out_through: int = -1


def durable_slot(progress: Iterable[Told]) -> int | None:
    """Return the slot up to which the database holds everything, whichever feed told it; None: nothing yet."""
    return max((told.slot for told in progress if told.program == EVERY_PROGRAM), default=None)


def needless_slot(durable: int, first_stored: int | None) -> int:
    """
    Return up to which slot nothing is to be compared with the chain, where a database does not tell.

    Before the first slot with rows nothing was told. What is older than `COMPARED_BACK_SLOTS` (a database of before
    rows were compared) was final long ago, and many a node has forgotten it.

    Args:
        durable: Up to where everything is there.
        first_stored: The first of so many slots that has rows; None: none has.
    """
    if first_stored is None:
        return max(durable - COMPARED_BACK_SLOTS, 0)
    return first_stored - 1


async def beginning(start: Start, durable: int | None, client: Rpc, commitment: rpc.Commitment) -> Beginning:
    """
    Return where to begin. A slot is checked; `now` and a time ago say by themselves that they leave something out.

    Raises:
        ConfigError: If `start` is a slot that lies ahead of what is `durable`, or of the node.
        RequestFailed: If the node does not answer, where it has to be asked.
        SourceRefused: If it does not let us in.
    """
    match start.kind:
        case "progress":
            return Beginning(durable)
        case "now":
            return Beginning(durable, Beginning.EVERYTHING)
        case "slot":
            return from_slot(start.slot, durable, await _head(client, commitment))
        case "ago":
            before = await slot_ago(client, start.ago_s, commitment) - 1
            return Beginning(before) if durable is None or before <= durable else Beginning(durable, before)


def from_slot(slot: int, durable: int | None, head: int) -> Beginning:
    """
    Return what begins at `slot`, which may lie in the past.

    Raises:
        ConfigError: If it lies ahead of what is `durable`, or of the node's newest slot `head`.
    """
    if slot > head:
        raise ConfigError(
            f"start = slot {slot} lies ahead of the node, which is at slot {head}",
            mend="give a slot of the past, `progress`, or `now`",
        )
    if durable is not None and slot > durable + 1:
        raise ConfigError(
            f"start = slot {slot} lies ahead of what the database holds, which is complete through slot {durable}",
            mend="set start to `progress` to have all since then, or to `now` to leave the gap on purpose",
        )
    return Beginning(slot - 1)


async def _head(client: Rpc, commitment: rpc.Commitment) -> int:
    answer = await client.call(rpc.get_slot(commitment))
    try:
        return msgspec.json.decode(answer.result, type=int)
    except msgspec.MsgspecError as error:
        raise RequestFailed(f"{client.endpoint} does not tell its newest slot: {error}") from error
