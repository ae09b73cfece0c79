"""Notices as bytes, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.core.types import Invoke, TokenBalance, TxNotice
from monitor.errors import ConfigError
from monitor.sources.codec import VERSION, decode, encode
from monitor.sources.notices import Control, FeedUp
from tests.pipeline.market import recorded

if TYPE_CHECKING:
    from monitor.sources.notices import Notice

KINDS = (TxNotice, *get_args(Control))


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Return what gives any value of a type."""
    if kind is int:  # what msgpack holds; the numbers of the chain are smaller
        return st.integers(-(1 << 63), (1 << 64) - 1)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{field.name: values(field.type) for field in msgspec.structs.fields(kind)})
    inner = [values(part) for part in get_args(kind) if part is not ...]
    if get_origin(kind) in (list, tuple):
        return st.lists(inner[0], max_size=3).map(get_origin(kind))
    return st.one_of(inner) if inner else st.from_type(kind)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_comes_back_as_it_was(kind: type[Notice]) -> None:
    """With any value in any member."""

    @given(values(kind))
    def check(notice: Notice) -> None:
        assert decode(encode(notice)) == notice

    check()


def test_transactions_of_a_market_come_back_as_they_were() -> None:
    """Whole copies, with calls and balances."""
    for notice in recorded(5).whole:
        assert decode(encode(notice)) == notice


@given(st.binary(max_size=60))
def test_what_is_no_notice_is_refused(data: bytes) -> None:
    """With the one error that says what to do."""
    for record in (data, bytes([VERSION]) + data, bytes([VERSION]) + b"T" + data, bytes([VERSION]) + b"C" + data):
        try:
            assert decode(record) is not None
        except ConfigError as error:
            assert error.mend  # noqa: PT017 - most of it is refused, not all


def test_another_version_is_named() -> None:
    """An operator who went back to an older release reads what happened."""
    with pytest.raises(ConfigError, match="version 9"):
        decode(bytes([9]) + encode(FeedUp("logs", 1))[1:])


def test_a_member_that_is_new_takes_its_default() -> None:
    """A journal survives an upgrade."""
    older = {"signature": "s", "slot": 5, "failed": False, "gone": 1}
    record = encode(TxNotice("x", 1, failed=True))[:2] + msgspec.msgpack.encode(older)
    assert decode(record) == TxNotice("s", 5, failed=False)


def test_nested_members_are_of_their_types() -> None:
    """Not lists or dicts that merely look alike."""
    notice = TxNotice(
        "s",
        1,
        failed=False,
        invokes=(Invoke(0, 1, "p", ("a",), b"d"),),
        token_balances=(TokenBalance("a", "m", None, None, 3, 6),),
    )
    again = decode(encode(notice))
    assert isinstance(again, TxNotice)
    assert again == notice
    assert isinstance(again.token_balances[0], TokenBalance)
