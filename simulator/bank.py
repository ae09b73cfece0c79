"""Every balance of the simulated chain: lamports by address, token accounts, mints; with undo for one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from simulator.keys import TOKEN, WSOL

RENT_OF_TOKEN_ACCOUNT = 2_039_280
NATIVE_DECIMALS = 9


@dataclass(slots=True)
class TokenAccount:
    """One token account. A wrapped SOL account holds its amount in lamports as well, above its rent."""

    mint: bytes
    owner: bytes
    program: bytes
    amount: int


@dataclass(slots=True)
class Mint:
    """One mint; `supply` is what exists now."""

    decimals: int
    program: bytes
    supply: int


class Change(NamedTuple):
    """An account that a transaction touched. Token amounts are None where it was, or is, no token account."""

    lamports_before: int
    lamports_after: int
    before: int | None
    after: int | None
    token: TokenAccount | None


class Bank:
    """All balances. What comes from outside the simulated economy (`grant`) is counted, so that sums can be checked."""

    def __init__(self) -> None:
        self.lamports: dict[bytes, int] = {}
        self.tokens: dict[bytes, TokenAccount] = {}
        self.mints: dict[bytes, Mint] = {WSOL: Mint(NATIVE_DECIMALS, TOKEN, 0)}
        self.granted_lamports = 0
        self._before: dict[bytes, tuple[int, int | None, TokenAccount | None]] = {}
        self._supply_before: dict[bytes, int] = {}

    def begin(self) -> None:
        """Start a transaction: forget the undo of the last one."""
        self._before = {}
        self._supply_before = {}

    def touch(self, address: bytes) -> None:
        """Remember an account's balances as they were when the transaction began."""
        if address not in self._before:
            token = self.tokens.get(address)
            self._before[address] = (self.lamports.get(address, 0), token.amount if token else None, token)

    def undo(self) -> None:
        """Put every balance back to where the transaction found it."""
        for address, (lamports, amount, token) in self._before.items():
            self.lamports[address] = lamports
            if token is None:
                self.tokens.pop(address, None)
            else:
                token.amount = amount or 0
                self.tokens[address] = token
        for mint, supply in self._supply_before.items():
            self.mints[mint].supply = supply

    def end(self) -> dict[bytes, Change]:
        """End a transaction: return the accounts it touched, changed or not, and forget its undo."""
        found: dict[bytes, Change] = {}
        for address, (lamports, amount, token) in self._before.items():
            now = self.tokens.get(address)
            found[address] = Change(
                lamports, self.lamports.get(address, 0), amount, now.amount if now else None, now or token
            )
        self.begin()
        return found

    def grant(self, address: bytes, lamports: int) -> None:
        """Give SOL from outside; not to an account that the running transaction touched, whose undo would take it."""
        if address in self._before:
            raise AssertionError("a grant inside a transaction")
        self.lamports[address] = self.lamports.get(address, 0) + lamports
        self.granted_lamports += lamports

    def grant_tokens(self, address: bytes, mint: bytes, owner: bytes, amount: int) -> None:
        """Give tokens from outside (money like USDC; not wrapped SOL), and the account if there is none."""
        if address in self._before:
            raise AssertionError("a grant inside a transaction")
        if address not in self.tokens:
            self.grant(address, RENT_OF_TOKEN_ACCOUNT)
            self.tokens[address] = TokenAccount(mint, owner, self.mints[mint].program, 0)
        self.tokens[address].amount += amount
        self.mints[mint].supply += amount

    def pay(self, source: bytes, target: bytes, amount: int) -> None:
        """Move lamports."""
        self.touch(source)
        self.touch(target)
        left = self.lamports.get(source, 0) - amount
        if left < 0 or amount < 0:
            raise AssertionError(f"{amount} lamports of an account that has {left + amount}")
        self.lamports[source] = left
        self.lamports[target] = self.lamports.get(target, 0) + amount

    def open(self, address: bytes, mint: bytes, owner: bytes, program: bytes, payer: bytes) -> None:
        """Open a token account; the payer pays its rent."""
        self.pay(payer, address, RENT_OF_TOKEN_ACCOUNT)
        self.tokens[address] = TokenAccount(mint, owner, program, 0)

    def close(self, address: bytes, target: bytes) -> None:
        """Close a token account; what lamports it has go to `target`."""
        if self.tokens[address].amount and self.tokens[address].mint != WSOL:
            raise AssertionError("a token account with tokens cannot be closed")
        self.pay(address, target, self.lamports[address])
        del self.tokens[address]

    def wrap(self, source: bytes, target: bytes, amount: int) -> None:
        """Pay lamports into a wrapped SOL account, and have it count them as tokens."""
        self.pay(source, target, amount)
        self.tokens[target].amount += amount

    def move(self, source: bytes, target: bytes, amount: int) -> None:
        """Move tokens between two accounts of one mint."""
        self.touch(source)
        self.touch(target)
        giver, taker = self.tokens[source], self.tokens[target]
        if giver.mint != taker.mint or not 0 <= amount <= giver.amount:
            raise AssertionError(f"{amount} tokens of an account that has {giver.amount}")
        giver.amount -= amount
        taker.amount += amount
        if giver.mint == WSOL:
            self.lamports[source] -= amount
            self.lamports[target] += amount

    def mint_to(self, target: bytes, amount: int) -> None:
        """Make new tokens."""
        self.touch(target)
        self._supply(self.tokens[target].mint, amount)
        self.tokens[target].amount += amount

    def burn(self, source: bytes, amount: int) -> None:
        """Destroy tokens."""
        self.touch(source)
        token = self.tokens[source]
        if not 0 <= amount <= token.amount:
            raise AssertionError(f"burn of {amount} tokens of {token.amount}")
        self._supply(token.mint, -amount)
        token.amount -= amount

    def _supply(self, mint: bytes, change: int) -> None:
        found = self.mints[mint]
        self._supply_before.setdefault(mint, found.supply)
        found.supply += change

    def amount(self, address: bytes) -> int:
        """Return a token account's amount; 0 if there is none."""
        token = self.tokens.get(address)
        return token.amount if token else 0
