"""The JSON-RPC methods of the node: from params to results, without any I/O."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Any

from decoders.core import base58
from simulator import accounts
from simulator.keys import text
from simulator.node import errors
from simulator.node.blocks import block_body
from simulator.node.params import (
    address_of,
    check_versions,
    commitment_of,
    config_of,
    confirmed_at_least,
    encoding_of,
    positional,
    signature_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.chain import Block, Chain, Commitment
    from simulator.rendering import Renderer
    from simulator.transaction import Transaction

API_VERSION = "3.0.6"
_MOST_SIGNATURES, _MOST_STATUSES, _MOST_ACCOUNTS, _MOST_BLOCKS = 1_000, 256, 100, 500_000
_STATUS_BLOCKS = 300  # agave's MAX_RECENT_BLOCKHASHES
Params = list[Any]


class Rpc:
    """Answers methods from a chain and the world of its market."""

    def __init__(self, chain: Chain, renderer: Renderer) -> None:
        self._chain = chain
        self._renderer = renderer
        self.methods: dict[str, Callable[[Params], Any]] = {
            "getAccountInfo": self._account_info,
            "getBlock": self._block,
            "getBlockHeight": self._block_height,
            "getBlockTime": self._block_time,
            "getBlocks": self._blocks,
            "getFirstAvailableBlock": lambda _: chain.first_available,
            "getGenesisHash": lambda _: text(b"\x45" * 32),
            "getHealth": lambda _: "ok",
            "getLatestBlockhash": self._latest_blockhash,
            "getMultipleAccounts": self._multiple_accounts,
            "getSignatureStatuses": self._statuses,
            "getSignaturesForAddress": self._signatures,
            "getSlot": self._slot,
            "getTransaction": self._transaction,
            "getVersion": lambda _: {"solana-core": API_VERSION, "feature-set": 3_640_012_085},
            "minimumLedgerSlot": lambda _: chain.first_available,
        }

    def call(self, method: str, params: Params) -> Any:
        """
        Return a method's result.

        Raises:
            RpcError: If it is unknown, or its parameters cannot be served.
        """
        found = self.methods.get(method)
        if found is None:
            raise errors.method_not_found()
        return found(params)

    def _context(self, commitment: Commitment) -> dict[str, Any]:
        return {"apiVersion": API_VERSION, "slot": self._chain.tip(commitment)}

    def _tip(self, config: dict[str, Any]) -> int:
        tip = self._chain.tip(commitment_of(config))
        if tip < config.get("minContextSlot", 0):
            raise errors.min_context_slot(tip)
        return tip

    def _slot(self, params: Params) -> int:
        return self._tip(config_of(params, 0))

    def _block_height(self, params: Params) -> int:
        block = self._chain.blocks.get(self._tip(config_of(params, 0)))
        return block.height if block else 0

    def _latest_blockhash(self, params: Params) -> dict[str, Any]:
        commitment = commitment_of(config_of(params, 0))
        block = self._chain.at_lag(self._chain.lag(commitment))
        value = {
            "blockhash": text(block.hash if block else bytes(32)),
            "lastValidBlockHeight": (block.height if block else 0) + 150,
        }
        return {"context": self._context(commitment), "value": value}

    def _found_block(self, slot: int, commitment: Commitment) -> Block:
        """Return a block, or raise what tells why there is none."""
        if slot < self._chain.first_available:
            raise errors.missing_in_storage(slot)
        if slot > self._chain.tip(commitment):
            raise errors.block_not_available(slot)
        block = self._chain.blocks.get(slot)
        if block is None:
            raise errors.slot_skipped(slot)
        return block

    def _block(self, params: Params) -> dict[str, Any]:
        slot = positional(params, 0, int, "slot")
        encoding = params[1] if len(params) > 1 and isinstance(params[1], str) else None
        config = {"encoding": encoding} if encoding else config_of(params, 1)
        block = self._found_block(slot, confirmed_at_least(config))
        return block_body(block, self._renderer, config)

    def _block_time(self, params: Params) -> int:
        return self._found_block(positional(params, 0, int, "slot"), "processed").time

    def _blocks(self, params: Params) -> list[int]:
        first = positional(params, 0, int, "start_slot")
        last = params[1] if len(params) > 1 and isinstance(params[1], int) else None
        config = config_of(params, 1 if len(params) > 1 and isinstance(params[1], dict) else 2)
        tip = self._chain.tip(confirmed_at_least(config))
        last = tip if last is None else min(last, tip)
        if last - first > _MOST_BLOCKS:
            raise errors.invalid_params(f"Slot range too large; max {_MOST_BLOCKS}")
        return self._chain.slots(first, last)

    def _transaction(self, params: Params) -> dict[str, Any] | None:
        signature = signature_of(positional(params, 0, str, "signature"))
        encoding = params[1] if len(params) > 1 and isinstance(params[1], str) else None
        config = {"encoding": encoding} if encoding else config_of(params, 1)
        found = self._chain.find(signature, confirmed_at_least(config))
        if found is None:
            return None
        block, tx = found
        check_versions([tx], config)
        body = self._renderer.transaction(tx, block.parent_hash, encoding_of(config))
        if config.get("maxSupportedTransactionVersion") is None:
            body.pop("version")
        return {"slot": block.slot, **body, "blockTime": block.time, "transactionIndex": tx.index}

    def _statuses(self, params: Params) -> dict[str, Any]:
        wanted = positional(params, 0, list, "signatures")
        if len(wanted) > _MOST_STATUSES:
            raise errors.invalid_params(f"Too many inputs provided; max {_MOST_STATUSES}")
        config = config_of(params, 1)
        oldest = 0 if config.get("searchTransactionHistory") else self._oldest_status()
        value = [self._status(signature_of(item), oldest) for item in wanted]
        return {"context": self._context("processed"), "value": value}

    def _oldest_status(self) -> int:
        """Return the oldest slot whose statuses are at hand without searching the history."""
        block = self._chain.at_lag(_STATUS_BLOCKS)
        return block.slot if block else 0

    def _status(self, signature: bytes, oldest_slot: int) -> dict[str, Any] | None:
        found = self._chain.find(signature, "processed")
        if found is None or found[0].slot < oldest_slot:
            return None
        block, tx = found
        level = next(c for c in ("finalized", "confirmed", "processed") if block.slot <= self._chain.tip(c))
        newest = self._chain.at_lag(0)
        return {
            "slot": block.slot,
            "confirmations": None if level == "finalized" else (newest.height if newest else 0) - block.height,
            "err": tx.error,
            "status": {"Ok": None} if tx.error is None else {"Err": tx.error},
            "confirmationStatus": level,
        }

    def _signatures(self, params: Params) -> list[dict[str, Any]]:
        address = address_of(positional(params, 0, str, "address"))
        config = config_of(params, 1)
        limit = config.get("limit", _MOST_SIGNATURES)
        if not isinstance(limit, int) or not 1 <= limit <= _MOST_SIGNATURES:
            raise errors.invalid_params(f"Invalid limit; max {_MOST_SIGNATURES}")
        before, until = (signature_of(config[name]) if config.get(name) else None for name in ("before", "until"))
        commitment = confirmed_at_least(config)
        found: list[dict[str, Any]] = []
        started = before is None
        for block, tx in self._chain.newest_first(commitment):
            if tx.signature == until or len(found) == limit:
                break
            if started and address in tx.mentions():
                found.append(self._signature_row(block, tx))
            started = started or tx.signature == before
        return found

    def _signature_row(self, block: Block, tx: Transaction) -> dict[str, Any]:
        finalized = block.slot <= self._chain.tip("finalized")
        return {
            "signature": base58.encode(tx.signature),
            "slot": block.slot,
            "err": tx.error,
            "memo": None,
            "blockTime": block.time,
            "confirmationStatus": "finalized" if finalized else "confirmed",
        }

    def _account_info(self, params: Params) -> dict[str, Any]:
        address = address_of(positional(params, 0, str, "pubkey"))
        commitment = commitment_of(config_of(params, 1))
        return {"context": self._context(commitment), "value": self._account(address)}

    def _multiple_accounts(self, params: Params) -> dict[str, Any]:
        wanted = positional(params, 0, list, "pubkeys")
        if len(wanted) > _MOST_ACCOUNTS:
            raise errors.invalid_params(f"Too many inputs provided; max {_MOST_ACCOUNTS}")
        commitment = commitment_of(config_of(params, 1))
        value = [self._account(address_of(item)) for item in wanted]
        return {"context": self._context(commitment), "value": value}

    def _account(self, address: bytes) -> dict[str, Any] | None:
        found = accounts.find(self._chain.market.world, address)
        if found is None:
            return None
        return {
            "lamports": found.lamports,
            "owner": text(found.owner),
            "data": [b64encode(found.data).decode(), "base64"],
            "executable": found.executable,
            "rentEpoch": (1 << 64) - 1,
            "space": len(found.data),
        }
