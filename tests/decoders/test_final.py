"""What is read from the finalized chain is marked as such, whichever rule says it."""

from __future__ import annotations

import msgspec
import pytest

from tests.decoders.built import ALL
from tests.pipeline import market

VENUES = {"pumpfun", "pumpswap", "raydium_launchpad", "raydium_cpmm"}


@pytest.mark.slow
@pytest.mark.parametrize("final", [True, False])
def test_every_fact_is_as_final_as_its_transaction(final: bool) -> None:
    """Of every venue and kind that a market has."""
    told = [
        fact
        for seed in (12, 14)
        for whole in market.recorded(seed).whole
        for fact in ALL.decode(msgspec.structs.replace(whole, final=final), {}).facts
    ]
    assert {fact.venue for fact in told} >= VENUES
    assert {fact.kind for fact in told} >= {"trade", "launch", "curve_complete", "graduation", "pool_created"}
    assert {fact.final for fact in told} == {final}
