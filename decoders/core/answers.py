"""
Shapes of transactions and blocks as nodes answer them.

Encodings json, jsonParsed and base64. Members that nobody reads are left out, and skipped when JSON is read. The
structs hold no cycles, so the collector need not follow them.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from decoders.core.types import I64_MAX

Slot = Annotated[int, msgspec.Meta(ge=0, le=I64_MAX)]
Place = Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFF)]
UnixTime = int | float | None


class Key(msgspec.Struct, frozen=True, gc=False):
    """An account of a jsonParsed message."""

    pubkey: str


class Instruction(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """
    An instruction: indices into the account keys (json, base64), or keys themselves (jsonParsed).

    `data` is base58, None where the node has parsed it. `stack_height` is 1 for an outer instruction, None where the
    node does not tell.
    """

    program_id_index: Place | None = None
    program_id: str | None = None
    accounts: tuple[Place | str, ...] = ()
    data: str | None = None
    stack_height: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None


class Inner(msgspec.Struct, frozen=True, gc=False):
    """What the outer instruction number `index` called, in execution order at every depth."""

    index: Place
    instructions: tuple[Instruction, ...]


class Amount(msgspec.Struct, frozen=True, gc=False):
    """A token amount in base units, as decimal text."""

    amount: str
    decimals: Annotated[int, msgspec.Meta(ge=0, le=255)]


class Balance(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Balance of one token account before or after."""

    account_index: Place
    mint: str
    ui_token_amount: Amount
    owner: str | None = None


class Loaded(msgspec.Struct, frozen=True, gc=False):
    """Keys that a version 0 message took from lookup tables."""

    writable: tuple[str, ...] = ()
    readonly: tuple[str, ...] = ()


class Meta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What running the transaction did. Inner instructions and log messages are None where a node has not kept them."""

    err: Any
    inner_instructions: tuple[Inner, ...] | None = None
    log_messages: list[str] | None = None
    pre_token_balances: tuple[Balance, ...] | None = None
    post_token_balances: tuple[Balance, ...] | None = None
    loaded_addresses: Loaded | None = None


class Message(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A message in JSON. With jsonParsed the keys from lookup tables are in `account_keys` already."""

    account_keys: tuple[str | Key, ...]
    instructions: tuple[Instruction, ...]


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """A transaction in JSON."""

    signatures: tuple[str, ...]
    message: Message


class TransactionAnswer(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The result of getTransaction, or an entry of a block (which has no slot and no time of its own)."""

    transaction: Transaction | tuple[str, str]
    meta: Meta | None = None
    slot: Slot | None = None
    block_time: UnixTime = None
    transaction_index: Place | None = None


class BlockAnswer(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The result of getBlock, or the block of a blockNotification. The entries are still JSON text."""

    blockhash: str
    previous_blockhash: str
    parent_slot: Slot
    transactions: tuple[msgspec.Raw, ...]
    block_time: UnixTime = None


class SkimmedMeta(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """See `Skimmed`."""

    loaded_addresses: Loaded | None = None


class SkimmedMessage(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """See `Skimmed`."""

    account_keys: tuple[str | Key, ...]


class SkimmedTransaction(msgspec.Struct, frozen=True, gc=False):
    """See `Skimmed`."""

    signatures: tuple[str, ...]
    message: SkimmedMessage


class Skimmed(msgspec.Struct, frozen=True, gc=False):
    """Signatures and account keys of an entry: enough to see whether it matters. Encoded ones stay encoded."""

    transaction: SkimmedTransaction | tuple[str, str]
    meta: SkimmedMeta | None = None
