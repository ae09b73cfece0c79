"""Pools of launched tokens are stored, others are not, and a mint's standing may change once: by its launch."""

from monitor.pipeline.gate import Gate
from tests.pipeline.facts import graduation, launch, pool_created, pool_trade, trade


def test_launchpads_are_never_filtered() -> None:
    """What a launchpad says is stored whatever the gate knows."""
    gate = Gate()
    facts = [trade(mint="a"), launch(mint="b"), graduation(mint="c")]
    assert gate.questions(facts) == set()
    assert gate.admit(facts) == (facts, [])


def test_pool_trades_depend_on_the_mint() -> None:
    """A trade on somebody's pool is kept if the database knows its mint as launched, and filtered if not."""
    gate = Gate()
    known, unknown = pool_trade(mint="known"), pool_trade(mint="unknown")
    asked = gate.questions([known, unknown])
    assert asked == {"known", "unknown"}
    gate.answer(asked, {"known"})
    assert gate.admit([known, unknown]) == ([known], [unknown])
    assert gate.questions([known, unknown]) == set(), "an answer is remembered"


def test_a_launch_in_the_same_batch_counts() -> None:
    """A mint launched earlier in the batch needs no question; trades before its launch stay filtered."""
    gate = Gate()
    early, born, late = pool_trade(mint="m", nth=0), launch(mint="m"), pool_trade(mint="m", nth=1)
    assert gate.questions([born, late]) == set()
    gate.answer({"m"}, set())
    assert gate.admit([early, born, late]) == ([born, late], [early])


def test_canonical_pools_vouch_for_their_mint() -> None:
    """The pool of a graduation is stored unasked, and makes its mint a launched one for other pools."""
    gate = Gate()
    canonical, side = pool_trade(mint="m", canonical=True), pool_trade(mint="m", pool="other")
    assert gate.admit([canonical, side]) == ([canonical, side], [])
    opened = pool_created(mint="n", canonical=True)
    assert gate.admit([opened, pool_created(mint="n")])[1] == []


def test_who_cannot_wait_hears_what_is_known() -> None:
    """Live announcements leave out what the gate would filter, and what it does not know yet."""
    gate = Gate()
    assert not gate.passes(pool_trade(mint="m"))
    assert gate.passes(pool_trade(mint="m", canonical=True))
    assert gate.passes(trade(mint="m"))
    gate.answer({"m", "n"}, {"m"})
    assert gate.passes(pool_trade(mint="m"))
    assert not gate.passes(pool_trade(mint="n"))


def test_memory_is_bounded() -> None:
    """The mint remembered first is forgotten first, and is asked for again."""
    gate = Gate(most=2)
    for mint in ("a", "b", "c"):
        gate.answer({mint}, {mint})
    assert gate.questions([pool_trade(mint="a"), pool_trade(mint="c")]) == {"a"}
