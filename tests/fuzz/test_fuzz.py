"""The fuzzer's targets hold for what they begin with and for chance's first inputs, and see rows that are wrong."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.decoders.built import ALL
from tests.fuzz import build, material, run
from tests.fuzz.properties import WrongRow, check_notice
from tests.fuzz.targets import TARGETS, change_text

if TYPE_CHECKING:
    from decoders.core.types import Decoded, TxNotice

RANDOM_INPUTS = 300


def mutate(rng: random.Random, data: bytes, size: int) -> bytes:
    """Change some bytes, as a fuzzer does."""
    changed = bytearray(data or b"\0")
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(changed))
        changed[at : at + rng.randrange(2)] = rng.randbytes(rng.randrange(3))
        changed = changed or bytearray(1)
    return bytes(changed[:size])


@pytest.mark.parametrize("name", TARGETS)
def test_targets(name: str) -> None:
    """Each target holds for its seeds and for what is made of them."""
    rng = random.Random(name)
    target = TARGETS[name]
    seeds = target.seeds()
    assert len(seeds) > 5
    for seed in seeds:
        target.run(seed)
    for number in range(RANDOM_INPUTS):
        changed = rng.choice(seeds)
        for _ in range(3):
            changed = (
                change_text(changed, target.most_bytes, number, lambda data, size: mutate(rng, data, size))
                if target.is_text
                else mutate(rng, changed + rng.randbytes(8), target.most_bytes)
            )
        target.run(changed)


def test_what_is_built_says_something() -> None:
    """Any bytes stand for a notice, and among few there are facts of nearly every kind."""
    rng = random.Random(1)
    kinds = set()
    for _ in range(2000):
        decoded = check_notice(build.notice(rng.randbytes(60)), material.POOLS)
        kinds |= {fact.kind for fact in [*decoded.facts, *decoded.partial]}
    assert kinds >= {"launch", "trade", "graduation", "pool_created", "other", "fault"}


WRONG: dict[str, dict[str, Any]] = {
    "amount": {"base_amount": 5},
    "mint": {"mint": "So11111111111111111111111111111111111111112"},
    "no trader": {"trader": None},
    "number": {"nth": 7},
    "place": {"position": 99},
    "signature": {"signature": ""},
    "beyond a BIGINT": {"quote_amount": 1 << 63},
    "negative": {"quote_amount": -1},
}


@pytest.mark.parametrize("how", WRONG)
def test_wrong_rows_are_seen(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that says what the bytes do not is caught."""
    notice = next(one for one in material.notices() if _trades(ALL.decode(one, {})))
    right = ALL.decode(notice, {})
    trade = _trades(right)[0]
    changed: Any = msgspec.structs.replace(trade, **WRONG[how])
    facts = [changed if fact is trade else fact for fact in right.facts]
    monkeypatch.setattr(type(ALL), "decode", lambda *_: msgspec.structs.replace(right, facts=facts))
    with pytest.raises(WrongRow):
        check_notice(notice, {})


@pytest.mark.parametrize("change", ["lost", "foreign", "moved"])
def test_events_that_are_lost_or_forged_are_seen(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one that leaves out an event, or takes one that another program printed."""
    notice = next(one for one in material.notices() if one.logs and _trades(ALL.decode(one, {})))
    decode = type(ALL).decode
    other = msgspec.structs.replace(
        notice, logs=[line.replace(" invoke [", "  invoke [") for line in notice.logs or []]
    )
    asked: dict[str, tuple[TxNotice, TxNotice]] = {
        "lost": (notice, msgspec.structs.replace(notice, logs=[], invokes=None)),
        "foreign": (msgspec.structs.replace(other, invokes=None), msgspec.structs.replace(notice, invokes=None)),
        "moved": (notice, msgspec.structs.replace(notice, slot=5)),
    }
    right, told = asked[change]
    monkeypatch.setattr(type(ALL), "decode", lambda self, _, pools: decode(self, told, pools))
    with pytest.raises(WrongRow):
        check_notice(right, {})


def _trades(decoded: Decoded) -> list[Any]:
    return [fact for fact in decoded.facts if fact.kind == "trade" and fact.venue == "pumpfun"]


def test_report() -> None:
    """What libFuzzer prints is read: how much was done, and whether a row was wrong or something raised."""
    text = "#7 DONE cov: 94 ft: 131\nDone 341230 runs in 7 second(s)\nstat::number_of_executed_units: 341230\n"
    good = run._read("account", text, 0)
    assert (good.executions, good.seconds, good.covered, good.crashes, good.wrong_rows, good.text) == (
        341230, 7, 94, 0, 0, "",
    )  # fmt: skip
    raised = run._read("account", "=== Uncaught Python exception: ===\nKeyError: 5\n", 77)
    assert (raised.executions, raised.crashes, raised.wrong_rows) == (0, 1, 0)
    assert "KeyError: 5" in raised.text
    wrong = run._read("account", "=== Uncaught Python exception: ===\nWrongRow: x\n", 77)
    assert (wrong.crashes, wrong.wrong_rows) == (0, 1)
