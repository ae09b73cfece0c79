"""One transaction while it is made: calls, balance moves, events, and what the ledger will say if it succeeds."""

from __future__ import annotations

import copy
from base64 import b64encode
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Protocol

from simulator import keys
from simulator.calls import SIGNER, WRITABLE, Call
from simulator.ledger import Said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from simulator.ledger import Entry, PoolState
    from simulator.programs import Program
    from simulator.world import World

_SIGNER_WRITABLE = WRITABLE | SIGNER


class Parts(Protocol):
    """Where calls go: a transaction's own list, or the parts of the call that makes them."""

    def append(self, call: Call, /) -> None:
        """Add a call at the end."""


class Draft:
    """A transaction under construction. Nothing of it lasts before `commit`; `abort` puts everything back."""

    def __init__(self, world: World, payer: bytes, slot: int, index: int, now: int, number: int | None = None) -> None:
        self.world = world
        self.payer = payer
        self.slot = slot
        self.index = index
        self.now = now
        self.signature = world.keys.signature(number)
        self.calls: list[Call] = []
        self._entries: list[Entry] = []
        self._opened: list[PoolState] = []
        self._said: dict[tuple[str, str], int] = {}
        self._saved: list[tuple[Any, Any]] = []
        self._after: list[Callable[[], None]] = []
        world.bank.begin()

    # What the programs do with accounts: each moves balances and leaves its call among `parts`.

    def pay(self, parts: Parts, source: bytes, target: bytes, lamports: int) -> None:
        """Transfer lamports by the system program."""
        self.world.bank.pay(source, target, lamports)
        data = b"\x02\0\0\0" + lamports.to_bytes(8, "little")
        parts.append(Call(keys.SYSTEM, (source, target), (_SIGNER_WRITABLE, WRITABLE), data, 150))

    def move(self, parts: Parts, source: bytes, target: bytes, authority: bytes, amount: int) -> None:
        """Transfer tokens (TransferChecked)."""
        bank = self.world.bank
        mint = bank.tokens[source].mint
        bank.move(source, target, amount)
        data = b"\x0c" + amount.to_bytes(8, "little") + bytes([bank.mints[mint].decimals])
        flags = (WRITABLE, 0, WRITABLE, SIGNER)
        parts.append(
            _token(bank.mints[mint].program, (source, mint, target, authority), flags, data, "TransferChecked")
        )

    def burn(self, parts: Parts, source: bytes, authority: bytes, amount: int) -> None:
        """Burn tokens."""
        bank = self.world.bank
        mint = bank.tokens[source].mint
        bank.burn(source, amount)
        data = b"\x08" + amount.to_bytes(8, "little")
        parts.append(
            _token(bank.mints[mint].program, (source, mint, authority), (WRITABLE, WRITABLE, SIGNER), data, "Burn")
        )

    def mint_to(self, parts: Parts, target: bytes, authority: bytes, amount: int) -> None:
        """Mint tokens."""
        bank = self.world.bank
        mint = bank.tokens[target].mint
        bank.mint_to(target, amount)
        data = b"\x07" + amount.to_bytes(8, "little")
        parts.append(
            _token(bank.mints[mint].program, (mint, target, authority), (WRITABLE, WRITABLE, SIGNER), data, "MintTo")
        )

    def account(self, parts: Parts, owner: bytes, mint: bytes) -> bytes:
        """Return the owner's associated token account, opened (and paid by the fee payer) if it is not there."""
        address = self.world.ata(owner, mint)
        if address not in self.world.bank.tokens:
            self.open(parts, address, owner, mint)
        return address

    def open(self, parts: Parts, address: bytes, owner: bytes, mint: bytes) -> None:
        """Open an associated token account."""
        program = self.world.token_program(mint)
        self.world.bank.open(address, mint, owner, program, self.payer)
        accounts = (self.payer, address, owner, mint, keys.SYSTEM, program)
        call = Call(keys.ATA_PROGRAM, accounts, (_SIGNER_WRITABLE, WRITABLE, 0, 0, 0, 0), b"\x01", 4_000)
        call.parts.append("Program log: CreateIdempotent")
        call.parts.append(
            Call(keys.SYSTEM, (self.payer, address), (_SIGNER_WRITABLE, _SIGNER_WRITABLE), bytes(52), 150)
        )
        call.parts.append("Program log: Initialize the associated token account")
        call.parts.append(_token(program, (address, mint), (WRITABLE, 0), b"\x12" + owner, "InitializeAccount3"))
        parts.append(call)

    def vault(self, address: bytes, owner: bytes, mint: bytes) -> None:
        """Open a program's own token account, without a word in the log."""
        self.world.bank.open(address, mint, owner, self.world.token_program(mint), self.payer)

    def wrap(self, parts: Parts, owner: bytes, need: int) -> bytes:
        """Return the owner's wrapped SOL account, opened and filled up so that it holds at least `need`."""
        address = self.account(parts, owner, keys.WSOL)
        short = need - self.world.bank.amount(address)
        if short > 0:
            self.pay(parts, owner, address, short)
            self.world.bank.tokens[address].amount += short
            parts.append(_token(keys.TOKEN, (address,), (WRITABLE,), b"\x11", "SyncNative"))
        return address

    def close(self, parts: Parts, address: bytes, owner: bytes) -> None:
        """Close a token account; its lamports go to its owner."""
        program = self.world.bank.tokens[address].program
        self.world.bank.close(address, owner)
        parts.append(_token(program, (address, owner, owner), (WRITABLE, WRITABLE, SIGNER), b"\x09", "CloseAccount"))

    # What the programs say.

    def emit(self, call: Call, program: Program, venue: str, name: str, values: Mapping[str, Any]) -> Said:
        """Emit an event as pump programs do: a log line, then the self-CPI."""
        data = program.event(name, values)
        call.parts.append("Program data: " + b64encode(data).decode())
        call.parts.append(program.self_cpi(data))
        return self.said(program, venue, name)

    def emit_cpi_first(self, call: Call, program: Program, venue: str, name: str, values: Mapping[str, Any]) -> Said:
        """Emit an event as LaunchLab does: the self-CPI, then a log line."""
        data = program.event(name, values)
        call.parts.append(program.self_cpi(data))
        call.parts.append("Program data: " + b64encode(data).decode())
        return self.said(program, venue, name)

    def emit_log(self, call: Call, program: Program, venue: str, name: str, values: Mapping[str, Any]) -> Said:
        """Emit an event as CPMM does: a log line alone."""
        call.parts.append("Program data: " + b64encode(program.event(name, values)).decode())
        return self.said(program, venue, name)

    def said(self, program: Program, venue: str, name: str) -> Said:
        """Return the identity of the next event (or instruction) of that name, and count it."""
        nth = self._said.get((venue, name), 0)
        self._said[venue, name] = nth + 1
        return Said(self.signature, self.slot, self.index, self.now, program.key, venue, name, nth)

    # What lasts.

    def record(self, entry: Entry) -> None:
        """Have the ledger say this if the transaction succeeds."""
        self._entries.append(entry)

    def opened(self, pool: PoolState) -> None:
        """Have the ledger know this curve or pool if the transaction succeeds."""
        self._opened.append(pool)

    def save(self, state: Any) -> None:
        """Remember a curve's or pool's members before they are changed."""
        self._saved.append((state, copy.copy(state)))

    def after(self, call: Callable[[], None]) -> None:
        """Call this if the transaction succeeds."""
        self._after.append(call)

    def commit(self) -> None:
        """Let it last."""
        ledger = self.world.ledger
        ledger.entries += self._entries
        ledger.pools.update((pool.address, pool) for pool in self._opened)
        ledger.events.update(self._said)
        for call in self._after:
            call()

    def abort(self) -> None:
        """Put balances, curves and pools back; what was said stays in the log, as on the real chain."""
        self.world.bank.undo()
        for state, before in reversed(self._saved):
            for field in fields(state):
                setattr(state, field.name, getattr(before, field.name))


def _token(program: bytes, accounts: tuple[bytes, ...], flags: tuple[int, ...], data: bytes, name: str) -> Call:
    """Return a token program's call: Token-2022 names its instruction in the log, p-token does not."""
    if program == keys.TOKEN:
        return Call(program, accounts, flags, data, 112)
    return Call(program, accounts, flags, data, 2_442, f"Program log: Instruction: {name}")
