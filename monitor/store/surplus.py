"""Rows of what could not be read, or not to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from decoders.core.types import Other
from monitor.store.sort import clean_fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from decoders.core.types import Fact, Fault
    from monitor.store.rows import Row, Times
    from monitor.store.sort import Sorted

_TAIL_KEY_WIDTH = 6
_SLOT, _TAIL = 6, 7
"""Places in a row of either table."""
_SLOT_MAX = (1 << 63) - 1


def tail_rows(found: Sorted, trades: Iterable[int], times: Times) -> list[Row]:
    """
    Return one row in the order of `sql.TAIL_COLUMNS` for each event with surplus bytes.

    Args:
        found: All facts.
        trades: Places of the trades that have some.
        times: Remembers block times.
    """
    rows: dict[tuple[Any, ...], Row] = {}
    for fact in (found.facts[at] for at in (*trades, *found.cold)):
        if fact.record is None or not fact.record.tail or isinstance(fact, Other):
            continue
        row = _tail_row(fact, times)
        key = row[:_TAIL_KEY_WIDTH]
        rows[key] = _better(rows[key], row) if key in rows else row
    return list(rows.values())


def refused_mints(found: Sorted) -> list[str]:
    """Return the tokens of which something is refused because a number is too large, each once."""
    return sorted({mint for _, fault in found.faults.values() if (mint := clean_fault(fault).mint) is not None})


def fault_rows(
    found: Sorted, times: Times, batch_no: int, tokens: Mapping[str, int]
) -> tuple[list[Row], dict[tuple[Any, ...], int]]:
    """
    Return one row in the order of `sql.FAULT_COLUMNS` for each fault, and where its first copy is, by identity.

    Other slots in which it was told are noted as landings. `tokens` are the ids of `refused_mints`.
    """
    rows: dict[tuple[Any, ...], Row] = {}
    places: dict[tuple[Any, ...], int] = {}
    for at, (kind, fault) in found.faults.items():
        cleaned = clean_fault(fault)
        token_id = None if cleaned.mint is None else tokens[cleaned.mint]
        row = (*_fault_row(cleaned, kind, times, batch_no), token_id)
        key = (row[0], row[1], row[3], row[4], row[5])
        first = rows.setdefault(key, row)
        if first[_SLOT] == row[_SLOT]:
            rows[key] = _fill(first, row)
        else:
            found.landings.add((fault.signature, min(fault.slot, _SLOT_MAX)))
        places.setdefault(key, at)
    return list(rows.values()), places


def _tail_row(fact: Fact, times: Times) -> Row:
    tail, payload = (fact.record.tail, fact.record.payload) if fact.record is not None else (b"", b"")
    identity = (fact.signature, fact.venue, fact.event, fact.nth, type(fact).kind)
    place = (fact.program, fact.index, fact.position)
    return (*identity, times.get(fact.block_time), fact.slot, tail, payload or None, *place)


def _better(first: Row, second: Row) -> Row:
    """Return the row of the later slot; of one slot, that with less left over, with what the other one knows more."""
    if first[_SLOT] != second[_SLOT]:
        return max(first, second, key=lambda row: row[_SLOT])
    shorter, longer = sorted((first, second), key=lambda row: len(row[_TAIL]))
    return _fill(shorter, longer)


def _fill(first: Row, second: Row) -> Row:
    return tuple(value if value is not None else second[place] for place, value in enumerate(first))


def _fault_row(fault: Fault, kind: str, times: Times, batch_no: int) -> Row:
    return (
        fault.signature,
        fault.program,
        fault.venue,
        fault.event,
        fault.nth,
        kind,
        fault.slot,
        times.get(fault.block_time),
        fault.index,
        fault.position,
        fault.platform,
        fault.reason,
        fault.payload,
        batch_no,
    )
