"""Transactions as nodes answer them: json, jsonParsed (partially decoded), base64 or base58."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Literal

from decoders.core import base58
from simulator.keys import text
from simulator.message import compile_message, lookups, signatures, wire_bytes
from simulator.parsed import parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from simulator.bank import Bank, Change
    from simulator.calls import Call, LogWriter
    from simulator.message import Message
    from simulator.transaction import Transaction

Encoding = Literal["json", "jsonParsed", "base64", "base58"]
ENCODINGS = ("json", "jsonParsed", "base64", "base58")


class Renderer:
    """Renders transactions under a node's log limit (None: the node keeps all). `bank` knows what they touched."""

    def __init__(self, bank: Bank, logs: LogWriter, log_limit_bytes: int | None) -> None:
        self.bank = bank
        self._logs = logs
        self._limit = log_limit_bytes

    def logs(self, tx: Transaction) -> list[str]:
        """Return a transaction's log lines."""
        return self._logs.lines(tx.calls, self._limit)

    def transaction(self, tx: Transaction, blockhash: bytes, encoding: Encoding) -> dict[str, Any]:
        """Return `{transaction, meta, version}`, as an entry of a block."""
        message = compile_message(tx)
        body: Any
        if encoding in ("base64", "base58"):
            wire = wire_bytes(tx, message, blockhash)
            body = [b64encode(wire).decode() if encoding == "base64" else base58.encode(wire), encoding]
        else:
            body = {
                "signatures": [base58.encode(signature) for signature in signatures(tx, message)],
                "message": _message(tx, message, blockhash, parsed=encoding == "jsonParsed"),
            }
        return {"transaction": body, "meta": self._meta(tx, message, encoding), "version": tx.version}

    def _meta(self, tx: Transaction, message: Message, encoding: Encoding) -> dict[str, Any]:
        native = self.bank.lamports
        units = sum(one.units for call in tx.calls for one, _ in call.walk())
        changes = [(at, key, tx.changes.get(key)) for at, key in enumerate(message.keys)]
        meta = {
            "err": tx.error,
            "status": {"Ok": None} if tx.error is None else {"Err": tx.error},
            "fee": tx.fee,
            "preBalances": [c.lamports_before if c else native.get(key, 1) for _, key, c in changes],
            "postBalances": [c.lamports_after if c else native.get(key, 1) for _, key, c in changes],
            "innerInstructions": [
                {
                    "index": at,
                    "instructions": [
                        _instruction(one, message, depth, parsed=encoding == "jsonParsed")
                        for one, depth in call.walk()
                        if depth > 1
                    ],
                }
                for at, call in enumerate(tx.calls)
                if any(True for _ in call.inner())
            ],
            "logMessages": self.logs(tx),
            "preTokenBalances": self._token_balances((at, c, c.before) for at, _, c in changes if c),
            "postTokenBalances": self._token_balances((at, c, c.after) for at, _, c in changes if c),
            "rewards": [],
            "computeUnitsConsumed": units,
            "costUnits": 1_500 + units,
        }
        if encoding != "jsonParsed":
            meta["loadedAddresses"] = {
                "writable": [text(key) for key in message.writable],
                "readonly": [text(key) for key in message.readonly],
            }
        return meta

    def _token_balances(self, rows: Iterable[tuple[int, Change, int | None]]) -> list[dict[str, Any]]:
        return [
            {
                "accountIndex": at,
                "mint": text(change.token.mint),
                "owner": text(change.token.owner),
                "programId": text(change.token.program),
                "uiTokenAmount": ui_amount(amount, self.bank.mints[change.token.mint].decimals),
            }
            for at, change, amount in rows
            if amount is not None and change.token is not None
        ]


def ui_amount(amount: int, decimals: int) -> dict[str, Any]:
    """Return a token amount as nodes write it."""
    digits = str(amount).rjust(decimals + 1, "0")
    shown = f"{digits[:-decimals]}.{digits[-decimals:]}".rstrip("0").rstrip(".") if decimals else digits
    return {
        "amount": str(amount),
        "decimals": decimals,
        "uiAmount": amount / 10**decimals if amount else None,
        "uiAmountString": shown,
    }


def _message(tx: Transaction, message: Message, blockhash: bytes, *, parsed: bool) -> dict[str, Any]:
    body: dict[str, Any] = {
        "recentBlockhash": text(blockhash),
        "instructions": [_instruction(call, message, 1, parsed=parsed) for call in tx.calls],
    }
    if parsed:
        body["accountKeys"] = [_parsed_key(at, key, message) for at, key in enumerate(message.keys)]
    else:
        signed, readonly_signed, readonly = message.header
        body["accountKeys"] = [text(key) for key in message.static]
        body["header"] = {
            "numRequiredSignatures": signed,
            "numReadonlySignedAccounts": readonly_signed,
            "numReadonlyUnsignedAccounts": readonly,
        }
    if tx.version == 0:
        body["addressTableLookups"] = [
            {"accountKey": text(table), "writableIndexes": writable, "readonlyIndexes": indexes}
            for table, writable, indexes in lookups(message)
        ]
    return body


def _parsed_key(at: int, key: bytes, message: Message) -> dict[str, Any]:
    return {
        "pubkey": text(key),
        "signer": at < message.header[0],
        "source": "transaction" if at < len(message.static) else "lookupTable",
        "writable": message.is_writable(at),
    }


def _instruction(call: Call, message: Message, depth: int, *, parsed: bool) -> dict[str, Any]:
    if not parsed:
        return {
            "programIdIndex": message.index[call.program],
            "accounts": [message.index[key] for key in call.accounts],
            "data": base58.encode(call.data),
            "stackHeight": depth,
        }
    known = parse(call)
    if known is not None:
        return {**known, "programId": text(call.program), "stackHeight": depth}
    return {
        "programId": text(call.program),
        "accounts": [text(key) for key in call.accounts],
        "data": base58.encode(call.data),
        "stackHeight": depth,
    }
