"""A waiting transaction is found by its pools and forgotten when it is told."""

from decoders.core.types import TxNotice
from monitor.pipeline.pending import Pending, key_of
from tests.pipeline.facts import trade


def _notice(signature: str, slot: int) -> TxNotice:
    return TxNotice(signature=signature, slot=slot, failed=False)


def test_waits_by_pool_in_slot_order() -> None:
    """Transactions that wait for one pool come out oldest slot first, and only once."""
    pending = Pending()
    pending.wait(_notice("late", 9), ["p"], whole=False, told=[])
    pending.wait(_notice("early", 3), ["p", "q"], whole=False, told=[key_of(trade())])
    assert pending.oldest_slot() == 3
    assert [waiting.notice.signature for waiting in pending.for_pool("p")] == ["early", "late"]
    pending.close("early")
    assert pending.for_pool("q") == []
    assert pending.oldest_slot() == 9


def test_waiting_again_replaces() -> None:
    """A second copy takes the place of the first: its pools no longer find the transaction."""
    pending = Pending()
    pending.wait(_notice("s", 1), ["old"], whole=True, told=[])
    pending.wait(_notice("s", 1), ["new"], whole=False, told=[])
    assert len(pending) == 1
    assert pending.for_pool("old") == []
    assert pending.close("nobody") == []
