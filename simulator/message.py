"""A transaction's message: accounts in their order, header, address tables, and its bytes on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha512
from typing import TYPE_CHECKING

from solders.hash import Hash
from solders.instruction import CompiledInstruction
from solders.message import (
    Message as LegacyMessage,
)
from solders.message import (
    MessageAddressTableLookup,
    MessageHeader,
    MessageV0,
    MessageV1,
    TransactionConfig,
)
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from simulator.calls import SIGNER, WRITABLE

if TYPE_CHECKING:
    from simulator.transaction import Transaction

_TABLE = b"\x2a" * 31 + b"\x01"
_STATIC_AT_MOST = 24


@dataclass(frozen=True, slots=True)
class Message:
    """
    The accounts of a message: `static` ones in it, then those from an address table, writable and readonly.

    `header` counts required signatures, readonly signed and readonly unsigned (of the static ones).
    """

    static: list[bytes]
    writable: list[bytes]
    readonly: list[bytes]
    header: tuple[int, int, int]
    index: dict[bytes, int]

    @property
    def keys(self) -> list[bytes]:
        """Return all accounts in the order that indexes count."""
        return [*self.static, *self.writable, *self.readonly]

    def is_writable(self, at: int) -> bool:
        """Return whether the account at this index is writable."""
        signed, readonly_signed, readonly = self.header
        if at >= len(self.static):
            return at < len(self.static) + len(self.writable)
        if at < signed:
            return at < signed - readonly_signed
        return at < len(self.static) - readonly


def compile_message(tx: Transaction) -> Message:
    """Put a transaction's accounts into their order, as a client would before signing."""
    flags: dict[bytes, int] = {tx.payer: SIGNER | WRITABLE}
    outer = {call.program for call in tx.calls}
    for call in tx.calls:
        for one, depth in call.walk():
            mask = WRITABLE | SIGNER if depth == 1 else WRITABLE
            for address, flag in zip(one.accounts, one.flags, strict=True):
                flags[address] = flags.get(address, 0) | (flag & mask)
            flags.setdefault(one.program, 0)
    groups: dict[int, list[bytes]] = {SIGNER | WRITABLE: [], SIGNER: [], WRITABLE: [], 0: []}
    for address, flag in flags.items():
        groups[flag].append(address)
    signed = groups[SIGNER | WRITABLE] + groups[SIGNER]
    writable, readonly = groups[WRITABLE], groups[0]
    looked_up: tuple[list[bytes], list[bytes]] = ([], [])
    if tx.version == 0 and len(flags) > _STATIC_AT_MOST:
        looked_up = (writable[len(writable) // 2 :], [key for key in readonly if key not in outer][2:])
    gone = {*looked_up[0], *looked_up[1]}
    writable = [key for key in writable if key not in gone]
    readonly = [key for key in readonly if key not in gone]
    static = signed + writable + readonly
    every = [*static, *looked_up[0], *looked_up[1]]
    header = (len(signed), len(groups[SIGNER]), len(readonly))
    return Message(static, *looked_up, header, {key: at for at, key in enumerate(every)})


def signatures(tx: Transaction, message: Message) -> list[bytes]:
    """Return the transaction's signatures; those of further signers are derived from the first."""
    return [tx.signature, *[sha512(tx.signature + bytes([number])).digest() for number in range(1, message.header[0])]]


def lookups(message: Message) -> list[tuple[bytes, list[int], list[int]]]:
    """Return the address tables used: address, indexes of writable and of readonly accounts."""
    if not message.writable and not message.readonly:
        return []
    count = len(message.writable)
    return [(_TABLE, list(range(count)), list(range(count, count + len(message.readonly))))]


def wire_bytes(tx: Transaction, message: Message, blockhash: bytes) -> bytes:
    """Return the serialized transaction, as base64 encodings carry it."""
    keys = [Pubkey(key) for key in message.static]
    recent = Hash(blockhash)
    instructions = [
        CompiledInstruction(message.index[call.program], call.data, bytes(message.index[key] for key in call.accounts))
        for call in tx.calls
    ]
    header = MessageHeader(*message.header)
    built: LegacyMessage | MessageV0 | MessageV1
    if tx.version == "legacy":
        built = LegacyMessage.new_with_compiled_instructions(*message.header, keys, recent, instructions)
    elif tx.version == 0:
        tables = [
            MessageAddressTableLookup(Pubkey(table), bytes(writable), bytes(readonly))
            for table, writable, readonly in lookups(message)
        ]
        built = MessageV0(header, keys, recent, instructions, tables)
    else:
        config = TransactionConfig(priority_fee=tx.fee, compute_unit_limit=1_400_000)
        built = MessageV1(header, config, recent, keys, instructions)
    signed = [Signature(signature) for signature in signatures(tx, message)]
    return bytes(VersionedTransaction.populate(built, signed))
