"""Follow whole transactions: transactionSubscribe, as Helius and compatible providers speak it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.sources import rpc
from monitor.sources.live import LiveSource
from monitor.sources.translate import SLOTS, TRANSACTIONS

if TYPE_CHECKING:
    from monitor.sources.live import Following, Tap


def transactions_source(following: Following, *, name: str = TRANSACTIONS, tap: Tap | None = None) -> LiveSource:
    """
    Return a source of every successful transaction that names one of the programs, whole.

    Like a feed of logs it claims to be complete, by the roots that slot notifications on the same connection tell.
    """
    wanted = {
        TRANSACTIONS: rpc.transaction_subscribe(sorted(following.programs), following.commitment),
        SLOTS: rpc.slot_subscribe(),
    }
    return LiveSource(following, wanted, name=name, tap=tap)
