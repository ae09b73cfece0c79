"""
One process of the fuzzer: `python -m tests.fuzz.fuzzer TARGET CORPUS [libFuzzer options]`; run.py starts it.

Decoders and sources are imported here, under atheris, so that it sees which of their lines an input reaches.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import atheris

with atheris.instrument_imports(include=["decoders", "monitor.sources"]):
    from tests.fuzz.targets import TARGETS, change_text

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

_MAX_MUTATIONS = 3


def main() -> None:
    """Fuzz until the limits given are reached, or something does not hold."""
    name, corpus, *options = sys.argv[1:]
    target = TARGETS[name]
    _plant(target, Path(corpus))
    arguments = [sys.argv[0], corpus, f"-max_len={target.most_bytes}", *options]
    if target.is_text:
        atheris.Setup(arguments, target.run, custom_mutator=_change)
    else:
        atheris.Setup(arguments, target.run)
    atheris.Fuzz()


def _plant(target: Target, corpus: Path) -> None:
    for number, seed in enumerate(target.seeds()):
        if len(seed) <= target.most_bytes:
            (corpus / f"seed-{number:04}").write_bytes(seed)


def _change(data: bytes, size: int, seed: int) -> bytes:
    for number in range(1 + seed % _MAX_MUTATIONS):
        data = change_text(data, size, seed // _MAX_MUTATIONS + number, atheris.Mutate)
    return data


if __name__ == "__main__":
    main()
