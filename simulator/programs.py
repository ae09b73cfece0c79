"""Programs as their IDLs describe them: instructions with accounts in order, events, accounts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from decoders.core import idl as anchor
from simulator import keys
from simulator.calls import SIGNER, WRITABLE, Call
from simulator.encode import Encoder
from simulator.layouts import changed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.calls import Account
    from simulator.layouts import Change

_COMMON = {
    "system_program": keys.SYSTEM,
    "associated_token_program": keys.ATA_PROGRAM,
    "token_program": keys.TOKEN,
    "token_2022_program": keys.TOKEN_2022,
    "spl_token_program": keys.TOKEN,
    "rent": keys.RENT,
    "rent_program": keys.RENT,
    "metadata_program": keys.METADATA,
    "mpl_token_metadata": keys.METADATA,
    "fee_program": keys.PUMP_FEES,
    "wsol_mint": keys.WSOL,
}
SELF_CPI = bytes.fromhex("e445a52e51cb9a1d")


class Program:
    """
    One Anchor program. `constants` are accounts that stand in every instruction by that name.

    `idl` is the text that describes it as it stands.
    """

    def __init__(self, idl: bytes, constants: Mapping[str, bytes] | None = None) -> None:
        parsed = anchor.parse(idl)
        self.idl = idl
        self.key = keys.key(parsed.address)
        self.event_authority = keys.pda(self.key, b"__event_authority")
        self._constants = {**_COMMON, "program": self.key, "event_authority": self.event_authority, **(constants or {})}
        self._events = {shape.name: Encoder(shape) for shape in parsed.events}
        self._added: dict[str, dict[str, int]] = {}
        self._accounts = {shape.name: Encoder(shape) for shape in parsed.accounts}
        self._instructions = {
            shape.name: _Instruction(shape.name, shape.accounts, Encoder(shape), self._constants)
            for shape in parsed.instructions
        }
        for item in json.loads(idl)["instructions"]:
            self._instructions[item["name"]].flags = tuple(_flags(account) for account in item["accounts"])

    def event(self, name: str, values: Mapping[str, Any]) -> bytes:
        """Return an event's bytes, discriminator first."""
        return self._events[name](values)

    def change(self, event: str, change: Change) -> None:
        """Have an event carry other bytes from now on; `idl` describes them."""
        self.idl, member = changed(self.idl, event, change)
        self._added[event] = self._added.get(event, {}) | member
        shape = next(shape for shape in anchor.parse(self.idl).events if shape.name == event)
        self._events[event] = Encoder(shape, self._added[event])

    def account(self, name: str, values: Mapping[str, Any]) -> bytes:
        """Return an account's bytes, discriminator first."""
        return self._accounts[name](values)

    def call(
        self, name: str, accounts: Mapping[str, bytes], args: Mapping[str, Any], rest: Sequence[Account] = ()
    ) -> Call:
        """
        Return an instruction as a call whose log so far is its `Instruction:` line.

        Args:
            accounts: By IDL name; constants and well-known programs may be left out.
            rest: Remaining accounts with their flags.

        Raises:
            KeyError: If an account is missing.
        """
        found = self._instructions[name]
        return found.call(self.key, accounts, args, rest)

    def self_cpi(self, event: bytes) -> Call:
        """Return the call by which the program leaves an event among its instructions."""
        return Call(self.key, (self.event_authority,), (0,), SELF_CPI + event, 2_164)


class _Instruction:
    """One instruction of a program."""

    def __init__(self, name: str, accounts: Sequence[str], encoder: Encoder, constants: Mapping[str, bytes]) -> None:
        self._accounts = accounts
        self._encoder = encoder
        self._constants = {name: constants[name] for name in accounts if name in constants}
        self._line = "Program log: Instruction: " + "".join(part.capitalize() for part in name.split("_"))
        self.flags: tuple[int, ...] = ()

    def call(
        self, program: bytes, accounts: Mapping[str, bytes], args: Mapping[str, Any], rest: Sequence[Account]
    ) -> Call:
        found = {**self._constants, **accounts}
        return Call(
            program,
            [found[name] for name in self._accounts] + [address for address, _ in rest],
            self.flags + tuple(flags for _, flags in rest),
            self._encoder(args),
            20_000,
            self._line,
        )


def _flags(account: Mapping[str, Any]) -> int:
    return (WRITABLE if account.get("writable") else 0) | (SIGNER if account.get("signer") else 0)
