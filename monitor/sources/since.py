"""Find the slot that a time ago was, by asking a node: slots have no fixed length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from monitor.errors import SourceRefused
from monitor.sources import rpc

if TYPE_CHECKING:
    from monitor.sources.clients import Rpc

# Skipped slots have no time; a look at the next ones finds a block soon.
_NEXT_SLOTS = 16
# Slots take at most about this long, so that the search does not begin before the time asked for.
_FASTEST_SLOT_S = 0.2


def _integer(text: msgspec.Raw) -> int | None:
    return msgspec.json.decode(text, type=int | None)


async def slot_ago(client: Rpc, ago_s: int, commitment: rpc.Commitment) -> int:
    """
    Return the first slot whose block is not older than `ago_s` before the newest one, by block times.

    Raises:
        SourceRefused: If the node knows no block times.
        RequestFailed: If it does not answer.
    """
    newest = _integer((await client.call(rpc.get_slot(commitment))).result)
    time = None if newest is None else await _time_near(client, newest - _NEXT_SLOTS)
    if newest is None or time is None:
        raise SourceRefused(f"{client.endpoint} tells no block times", mend="use start = slot N or now")
    wanted = time - ago_s
    low, high = max(newest - round(ago_s / _FASTEST_SLOT_S), 0), newest
    while low < high:
        middle = (low + high) // 2
        found = await _time_near(client, middle)
        if found is not None and found < wanted:
            low = middle + 1
        else:
            high = middle
    return low


async def _time_near(client: Rpc, slot: int) -> int | None:
    """Return the block time of the first block from `slot` on; None if none of the next ones has any."""
    for near in range(max(slot, 0), max(slot, 0) + _NEXT_SLOTS):
        found = _integer((await client.call(rpc.get_block_time(near))).result)
        if found is not None:
            return found
    return None
