"""Find transactions and log records in JSON values of every shape in which people keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec

from decoders.core.answers import Slot, UnixTime
from decoders.core.transaction import TransactionError, convert_transaction, parse_transaction, sane_time
from decoders.core.types import I64_MAX, TxNotice

if TYPE_CHECKING:
    from collections.abc import Iterator

# Deeper than any envelope around an envelope; the JSON reader bounds how deep a value itself can be.
_DEEPEST = 8
_NAMED_MEMBERS = 6
_NOT_ONE = "no transaction and no log record"
_FAILED_AT = 2


class Refusal(NamedTuple):
    """
    Something that cannot be read as a transaction: where in the value it stands, and why not.

    `is_stranger` if it did not even look like one.
    """

    place: str
    reason: str
    is_stranger: bool = False

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.place}: {self.reason}" if self.place else self.reason


class _Known(NamedTuple):
    """What the surroundings of a shape tell about it: slot and time (Unix seconds)."""

    slot: int | None = None
    time: int | None = None


# None stands for a transaction that has been read and touches no followed program.
_Found: TypeAlias = "Iterator[TxNotice | Refusal | None]"


def find(value: Any, programs: frozenset[str]) -> Iterator[TxNotice | Refusal]:
    """
    Yield each transaction that touches one of `programs`, and what cannot be read, in order.

    An unknown slot is 0 in the notice (the genesis block, in which no program ran).
    """
    for found in _Finder(programs).find(value, _Known(), "", 0):
        if found is not None:
            yield found


class _Finder:
    def __init__(self, programs: frozenset[str]) -> None:
        self._programs = programs

    def find(self, value: Any, known: _Known, place: str, depth: int) -> _Found:
        match value:
            case _ if depth > _DEEPEST:
                yield Refusal(place, f"{_NOT_ONE} within {_DEEPEST} levels", is_stranger=True)
            case list():
                for number, item in enumerate(value):
                    yield from self.find(item, known, f"{place}[{number}]", depth + 1)
            case {"signature": _, "logs": _}:
                yield _log_notice(value, known, place)
            case {"transaction": {"transaction": _}}:
                yield from self._members(value, known, place, depth)
            case {"transaction": _}:
                yield self._transaction(value, known, place)
            case {"transactions": list(entries)}:
                yield from self._block(value, entries, known, place)
            case {"error": {"code": code, "message": message}}:
                yield Refusal(place, f"the node answered with error {code}: {message}")
            case {"result": None}:
                yield Refusal(place, "the node did not know it: the result is null")
            case {"block": None, "err": error}:
                yield Refusal(place, f"the node could not give the block: {error}")
            case dict():
                yield from self._members(value, known, place, depth)
            case _:
                yield Refusal(place, f"{_NOT_ONE}, but {_kind(value)}", is_stranger=True)

    def _members(self, value: dict[str, Any], known: _Known, place: str, depth: int) -> _Found:
        """Look into an envelope, or a dict from names to records; members that look like neither are passed over."""
        known = _told(value, known)
        is_strange = True
        for name, member in value.items():
            if isinstance(member, dict | list):
                for found in self.find(member, known, f"{place}.{name}" if place else name, depth + 1):
                    if not (isinstance(found, Refusal) and found.is_stranger):
                        is_strange = False
                        yield found
        if is_strange:
            names = ", ".join(list(value)[:_NAMED_MEMBERS]) or "none"
            yield Refusal(place, f"{_NOT_ONE}; its members: {names}", is_stranger=True)

    def _block(self, value: dict[str, Any], entries: list[Any], known: _Known, place: str) -> _Found:
        known = _told(value, known)
        yield None
        for index, entry in enumerate(entries):
            yield self._transaction(entry, known, f"{place}.transactions[{index}]".lstrip("."), index)

    def _transaction(
        self, value: Any, known: _Known, place: str, index: int | None = None
    ) -> TxNotice | Refusal | None:
        try:
            return parse_transaction(
                convert_transaction(value),
                slot=known.slot or 0,
                block_time=known.time,
                index=index,
                programs=self._programs,
            )
        except TransactionError as error:
            return Refusal(place, str(error))


class _LogRecord(msgspec.Struct, rename="camel"):
    """`{signature, slot, err, logs}`, or the value of a logsNotification."""

    signature: str
    logs: list[str] | None
    err: Any = msgspec.UNSET
    slot: Slot | None = None
    block_time: UnixTime = None

    @property
    def failed(self) -> bool:
        """
        Whether the transaction failed.

        Where `err` is left out the log tells: when one program fails, the transaction does.
        """
        if self.err is not msgspec.UNSET:
            return self.err is not None
        words = (line.split(" ", _FAILED_AT + 1) for line in self.logs or ())
        return any(word[0] == "Program" and word[_FAILED_AT : _FAILED_AT + 1] == ["failed:"] for word in words)


def _log_notice(value: dict[str, Any], known: _Known, place: str) -> TxNotice | Refusal:
    try:
        record = msgspec.convert(value, _LogRecord)
    except msgspec.ValidationError as error:
        return Refusal(place, f"not a log record: {error}")
    time = sane_time(record.block_time)
    return TxNotice(
        signature=record.signature,
        slot=record.slot or known.slot or 0,
        failed=record.failed,
        logs=record.logs,
        block_time=known.time if time is None else time,
    )


def _told(value: dict[str, Any], known: _Known) -> _Known:
    """Return what an envelope tells about what is in it."""
    context = value.get("context")
    slot = value.get("slot", context.get("slot") if isinstance(context, dict) else None)
    time = value.get("blockTime")
    return _Known(
        slot if type(slot) is int and 0 < slot <= I64_MAX else known.slot,
        (sane_time(time) if type(time) in (int, float) else None) or known.time,
    )


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case _:
            return "a text"
