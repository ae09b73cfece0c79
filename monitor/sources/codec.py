"""
Notices as bytes, for the journal: a version, a letter for the type, and msgpack.

The members stand with their names. That costs 3 % of the bytes, of which compression leaves 1 %, and lets a journal
survive an upgrade: a member that is new takes its default, one that is gone is passed over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from decoders.core.types import TxNotice
from monitor.errors import ConfigError
from monitor.sources.notices import Control

if TYPE_CHECKING:
    from monitor.sources.notices import Notice

VERSION = 1
_TRANSACTION = bytes([VERSION]) + b"T"
_CONTROL = bytes([VERSION]) + b"C"

_encoder = msgspec.msgpack.Encoder()
_transactions = msgspec.msgpack.Decoder(TxNotice)
_controls = msgspec.msgpack.Decoder(Control)


def encode(notice: Notice) -> bytes:
    """Return a notice as a record."""
    if type(notice) is TxNotice:
        return _TRANSACTION + _encoder.encode(notice)
    return _CONTROL + _encoder.encode(notice)


def decode(record: bytes) -> Notice:
    """
    Return the notice that a record is.

    Raises:
        ConfigError: If another version of this program wrote it, in a way that this one cannot read.
    """
    head, body = record[:2], memoryview(record)[2:]
    try:
        if head == _TRANSACTION:
            return _transactions.decode(body)
        if head == _CONTROL:
            notice: Control = _controls.decode(body)
            return notice
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _unreadable(str(error)) from error
    raise _unreadable(f"version {head[0]}" if head else "it is empty")


def _unreadable(why: str) -> ConfigError:
    return ConfigError(
        f"a notice in the journal is not one of version {VERSION}: {why}",
        mend="start the version that wrote it, which commits what it holds, or set journal.dir to a new folder",
    )
