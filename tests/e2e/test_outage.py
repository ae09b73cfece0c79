"""A database that is away: the journal takes what comes, and when it is full nothing is lost either."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import outage

if TYPE_CHECKING:
    from pathlib import Path

    from tests import postgres

pytestmark = [pytest.mark.ci, pytest.mark.slow]

MIB = 1 << 20


async def test_what_comes_while_the_database_is_away_waits_in_the_journal(
    program: Path, server: postgres.Server, tmp_path: Path
) -> None:
    """All of it is stored afterwards, once, without a hole, and nothing waits in the end."""
    plan = outage.Outage(rate=500, away_s=20, before_s=5, after_s=5)
    outcome = await outage.run(plan, program, server, tmp_path)
    assert outcome.differences == []
    assert outcome.holes == []
    assert outcome.trades > 0
    waited = [sample.waiting for sample in outcome.stages.during]
    assert waited[-1] > waited[0]
    assert outcome.stages.after[-1].waiting < outage.CAUGHT_UP


async def test_a_full_journal_holds_the_node_back_until_it_drops_us_and_what_is_missed_is_filled_in(
    program: Path, server: postgres.Server, tmp_path: Path
) -> None:
    """The feed is not read any more, the node gives up on us, the rest is a hole that history fills."""
    plan = outage.Outage(
        rate=500, away_s=120, before_s=5, after_s=5, max_bytes=4 * MIB, queue_size=20, until_dropped=True
    )
    outcome = await outage.run(plan, program, server, tmp_path)
    assert max(sample.page["journal_full"] for sample in outcome.stages.during) == 1
    assert max(sample.page["journal_bytes"] for sample in outcome.stages.during) < 5 * MIB
    assert outcome.differences == []
    assert outcome.holes
    assert {hole.filled_by for hole in outcome.holes} == {"history"}
