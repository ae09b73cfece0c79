"""A finished transaction, as the chain keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from simulator.bank import Change
    from simulator.calls import Call

Version = Literal["legacy", 0, 1]


@dataclass(slots=True)
class Transaction:
    """
    One transaction of a block.

    `kind` tells what the market meant by it (for statistics alone), `fee` is in lamports, `changes` are the accounts
    whose balances it touched.
    """

    signature: bytes
    slot: int
    index: int
    block_time: int
    payer: bytes
    calls: list[Call]
    version: Version
    error: dict[str, Any] | None
    fee: int
    changes: dict[bytes, Change]
    kind: str

    def mentions(self) -> set[bytes]:
        """Return every address in it."""
        found = {self.payer}
        for call in self.calls:
            for one, _ in call.walk():
                found.add(one.program)
                found.update(one.accounts)
        return found
