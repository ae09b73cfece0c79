"""Recorded mainnet data: where it is, and what INDEX.tsv says about it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("MAINNET_FIXTURES") or Path(__file__).parents[2] / "shared" / "fixtures")

PUMPFUN = "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"
PUMPSWAP = "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA"
LAUNCHLAB = "LanMV9sAd7wArD4vJFi2qDdfnVhFxYSUg6eADduJ3uj"
MAYHEM = "MAyhSmzXzV1pTf7LsNkrNwkWKTo4ougAJ1PPg47MD4e"


@dataclass(frozen=True)
class Recorded:
    """One line of INDEX.tsv. `where` is `file#/member/[place]`; slot and block_time are "" where nobody knows them."""

    where: str
    kind: str
    program: str
    what: str
    slot: str
    signature: str
    block_time: str

    def load(self) -> Any:
        """Return the JSON value."""
        file, _, pointer = self.where.partition("#")
        value = json.loads((FOLDER / file).read_text())
        for step in pointer.strip("/").split("/") if pointer else ():
            value = value[int(step[1:-1])] if step.startswith("[") else value[step]
        return value


def recorded(kind: str) -> list[Recorded]:
    """Return the index lines of a kind; none (so that parametrised tests are skipped) where the data is missing."""
    index = FOLDER / "INDEX.tsv"
    if not index.exists():
        return []
    lines = (Recorded(*line.split("\t")[:7]) for line in index.read_text().splitlines()[1:])
    return [line for line in lines if line.kind == kind]


def require() -> None:
    """Skip the calling test, with the reason, where the data is missing."""
    if not (FOLDER / "INDEX.tsv").exists():
        pytest.skip(f"no recorded mainnet data at {FOLDER} (see MAINNET_FIXTURES)")
