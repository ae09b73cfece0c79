"""Recorded mainnet data for the tests of decoders: transactions, log lines and events of several authors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from decoders.core.transaction import convert_transaction, parse_transaction
from decoders.core.types import PoolInfo, Trade, TxNotice
from tests import mainnet
from tests.decoders.built import ALL, RAW

if TYPE_CHECKING:
    from decoders.core.types import Decoded, Fact

HERE = (mainnet.FOLDER / "INDEX.tsv").exists()
TRANSACTIONS = mainnet.recorded("transaction")
LOGS = mainnet.recorded("logs")
BY_ADDRESS = {raw.address: name for name, raw in RAW.items()}
SHORT = {"pumpfun": "pump", "pumpswap": "pumpswap", "raydium_launchpad": "launchlab", "raydium_cpmm": "cpmm"}
LAUNCHLAB_AUTHORITY = "WLHv2UAZm6z4KyaaELi5pjdbJh6RESMva1Rnn8pJVVh"

needs_data = pytest.mark.skipif(not HERE, reason=f"no recorded mainnet data at {mainnet.FOLDER} (see MAINNET_FIXTURES)")


def read(file: str) -> Any:
    """Return a JSON file of the recorded data; nothing where it is missing, so that tests of it are skipped."""
    return json.loads((mainnet.FOLDER / file).read_text()) if HERE else []


EVENTS = read("expected/events.json")
VECTORS = read("expected/substreams_solana_idls.json")["items"] if HERE else []
RAY_LOGS = read("expected/raydium_ammv4_ray_logs.json")
ACCOUNTS = read("accounts/accounts.json")


def params(items: list[Any], name: str) -> list[Any]:
    """Return test parameters named by a member of each item."""
    return [pytest.param(item, id=item[name]) for item in items]


def lines(found: list[mainnet.Recorded]) -> list[Any]:
    """Return test parameters named by their place in the index."""
    return [pytest.param(line, id=line.where) for line in found]


def whole(line: mainnet.Recorded) -> TxNotice:
    """Return a recorded transaction as a notice; what the record lacks comes from the index."""
    found = parse_transaction(convert_transaction(line.load()), slot=int(line.slot or 1), programs=ALL.followed)
    assert found is not None
    assert found.signature == line.signature
    return found


def logged(line: mainnet.Recorded) -> TxNotice:
    """Return recorded log lines as a notice."""
    value = line.load()
    return TxNotice(value["signature"], int(line.slot or 1), failed=False, logs=value["logs"])


def shown(fact: Fact) -> dict[str, Any]:
    """Return a fact's IDL fields as `decode` prints them."""
    assert fact.record is not None
    rendered: dict[str, Any] = fact.record.layout.render(fact.record)
    return rendered


def one(decoded: Decoded) -> Fact:
    """Return the only fact, complete or not."""
    (found,) = decoded.facts + decoded.partial
    return found


def same(value: Any, expected: Any) -> bool:
    """Compare what `decode` prints with an author's value, whose integers are numbers."""
    return value == expected or (isinstance(value, str) and value == str(expected))


def known_pools(decoded: Decoded) -> dict[str, PoolInfo]:
    """Return what the trades of a whole copy tell of their pools."""
    return {
        fact.pool: PoolInfo(fact.pool, fact.venue, fact.mint, fact.quote_mint, fact.platform, fact.flipped)
        for fact in decoded.facts
        if isinstance(fact, Trade) and fact.mint and fact.quote_mint
    }
