"""What is stored is compared with the finalized chain, and nothing that vanished is taken for final."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from monitor.sources.chain import Link
from monitor.sources.verdicts import Heard, Status, by_block, by_slot, by_statuses
from tests.sources.forks import Made, forks

if TYPE_CHECKING:
    from tests.sources.forks import Forks


def heard_of(blocks: list[Made], most: int = 1_000) -> Heard:
    """Return what was told of these blocks."""
    heard = Heard(most)
    for seen in (block.seen() for block in blocks):
        heard.add(seen.slot, Link(seen.parent_slot, seen.blockhash, seen.previous_blockhash))
    return heard


@given(forks(), st.data())
def test_a_chain_confirms_its_own_blocks_alone(model: Forks, data: st.DataObject) -> None:
    """Whatever was heard: a slot that passes has the finalized block and no other; one in doubt was told otherwise."""
    told = [block for block in model.blocks if data.draw(st.booleans())]
    heard, final = heard_of(told), model.final()
    chain = heard.chain(model.tip.slot, model.tip.name)
    assert (chain is None) == (model.tip not in told)
    if chain is None:
        return
    inside = {slot: block for slot, block in final.items() if chain.first_slot <= slot <= chain.last_slot}
    assert chain.hashes == {slot: block.name for slot, block in inside.items()}
    slots = set(range(95, 190))
    verdict = heard.compare(slots, chain)
    for slot in slots - verdict.doubted - verdict.unclear:
        assert {block.name for block in told if block.slot == slot} == {final[slot].name}
    for slot in verdict.doubted:
        assert slot not in final or {block.name for block in told if block.slot == slot} - {final[slot].name}
    assert not {slot for slot in verdict.unclear if slot in chain.hashes and slot in {block.slot for block in told}}


@given(forks(), st.data())
def test_statuses_and_blocks_find_what_vanished(model: Forks, data: st.DataObject) -> None:
    """Of rows of every branch exactly the slots stay in doubt that hold what is not final there, or should hold it."""
    pairs = sorted((block.slot, str(number)) for block in model.blocks for number in block.numbers)
    statuses = []
    for _, signature in pairs:
        slot = model.where(int(signature))
        is_told = data.draw(st.booleans())  # a node may have forgotten, or be behind
        statuses.append(Status(slot, is_final=data.draw(st.booleans()), failed=False) if slot and is_told else None)
    verdict = by_statuses(pairs, statuses)
    doubted = set(verdict.doubted)
    for slot, stored in by_slot(pairs).items():
        block = model.final().get(slot)
        if slot in verdict.unclear:
            signatures = {str(number) for number in block.numbers} if block else set()
            doubted |= by_block(stored, slot, signatures).doubted
    wrong = {slot for slot, signature in pairs if model.where(int(signature)) != slot}
    landed = {model.where(int(signature)) for slot, signature in pairs if model.where(int(signature)) != slot}
    assert wrong <= doubted <= wrong | landed


def test_a_failed_copy_is_in_doubt() -> None:
    """What is stored did not fail."""
    assert by_statuses([(7, "a")], [Status(7, is_final=True, failed=True)]).doubted == {7}


def test_blocks_are_forgotten() -> None:
    """Those that were compared, and the oldest where there are too many."""
    blocks = [
        Made(100 + number, f"b{number}", Made(99 + number, "", None, frozenset()), frozenset()) for number in range(9)
    ]
    heard = heard_of(blocks, most=5)
    assert heard.newest(200, 0) == [108, 107, 106, 105, 104]
    heard.forget(106)
    assert heard.newest(200, 0) == [108, 107]
    assert heard.newest(107, 0) == [107]
    assert len(heard) == 2
