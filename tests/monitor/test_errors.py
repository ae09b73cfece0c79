"""The error tree and its exit codes."""

from __future__ import annotations

import inspect

import pytest

from monitor import errors
from monitor.errors import ConfigError, DrainTooSlow, MonitorError, RequestFailed, SourceLost, SourceRefused, exit_code

CLASSES = [
    member
    for _, member in inspect.getmembers(errors, inspect.isclass)
    if member.__module__ == errors.__name__ and issubclass(member, MonitorError)
]


def test_docstring_tells_every_class_and_its_code() -> None:
    """The tree in the docstring names every class; the code beside it (or beside its parent) is the class's own."""
    told: dict[str, int] = {}
    parent_code = 0
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]  # the module has a docstring
        words = line.replace("├──", "").replace("└──", "").replace("│", "").split()
        if words and words[0] in {kind.__name__ for kind in CLASSES}:
            parent_code = int(words[1]) if words[1].isdigit() else parent_code
            told[words[0]] = parent_code
    assert told == {kind.__name__: kind.exit_code for kind in CLASSES}


def test_error_carries_cause_and_mend() -> None:
    """`str()` is the cause alone; the mend and the facts of a transient error stand beside it."""
    error = RequestFailed("getBlock: HTTP 429", mend="lower fetch.rate_per_s", retry_after_s=2.5, code=429)
    assert (str(error), error.mend, error.retry_after_s, error.code) == (
        "getBlock: HTTP 429",
        "lower fetch.rate_per_s",
        2.5,
        429,
    )
    assert SourceLost("closed").retry_after_s is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 78),
        (ValueError("x"), 70),
        (ExceptionGroup("g", [DrainTooSlow("x"), ExceptionGroup("h", [ConfigError("y")])]), 78),
        (ExceptionGroup("g", [ConfigError("x"), KeyError("a bug beside it")]), 70),
        (ExceptionGroup("g", [SourceRefused("x"), DrainTooSlow("y")]), 75),
    ],
)
def test_exit_code_is_the_gravest(error: BaseException, code: int) -> None:
    """A bug outweighs all, else the highest code of a group counts, however deep it lies."""
    assert exit_code(error) == code
