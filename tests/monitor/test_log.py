"""The log: two forms, one way for libraries, no secrets, no flood."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from monitor import log
from monitor.log import RateLimit

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the JSON lines that were written."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_away_from_terminals() -> None:
    """One JSON object a line, with level and time, whatever the fields hold."""
    stream = io.StringIO()
    log.setup("info", "auto", stream)
    structlog.get_logger().info("source_lost", slot=5, reason="x\ny", odd={1, 2})
    structlog.get_logger().debug("not_written")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["slot"], line["reason"]) == ("source_lost", "info", 5, "x\ny")
    assert line["timestamp"].endswith("Z")


def test_key_value_on_terminals_and_on_request() -> None:
    """A person reads event and key=value; colours only where a terminal shows them."""
    for stream, form in ((Terminal(), "auto"), (io.StringIO(), "console")):
        log.setup("info", form, stream)  # type: ignore[arg-type]  # a tuple of literals is no literal
        structlog.get_logger().warning("source_lost", slot=5)
        assert "source_lost" in stream.getvalue()
        assert ("\x1b[" in stream.getvalue()) == stream.isatty()
    assert "slot=5" in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_secret_is_written(form: Any) -> None:
    """Passwords and keys of addresses are hidden in fields, inside quotes, nested, and in tracebacks."""
    stream = io.StringIO()
    log.setup("info", form, stream)
    url = "postgresql://u:hidden-one@db.example/launches"
    try:
        raise ConnectionError(f"cannot reach '{url}'")
    except ConnectionError:
        structlog.get_logger().exception("store_away", url=url, tried=[f"({url})"], error=f"to '{url}': refused")
    assert "hidden-one" not in stream.getvalue()
    assert stream.getvalue().count("u:***@db.example") == 4
    assert "ConnectionError" in stream.getvalue()


def test_libraries_go_the_same_way() -> None:
    """What websockets or asyncpg log comes out as a line of ours, from warnings on, with its traceback."""
    stream = io.StringIO()
    log.setup("info", "json", stream)
    logging.getLogger("websockets.client").info("not written")
    logging.getLogger("websockets.client").warning("lost %s", "wss://h/?api-key=hidden-one")
    logging.getLogger("websockets.client").log(35, "a level of its own")
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("asyncpg").exception("broken")
    first, odd, second = lines(stream)
    assert (odd["level"], odd["message"]) == ("warning", "a level of its own")
    assert (first["event"], first["logger"], first["level"]) == ("library", "websockets.client", "warning")
    assert first["message"] == "lost wss://h/?***"
    assert (second["level"], second["message"]) == ("error", "broken")
    assert "ValueError: why" in second["exception"]


def test_flood_is_held_back_by_name_and_told_afterwards() -> None:
    """Twenty lines of a name pass in ten seconds; the next window's first line says how many did not."""
    clock = [0.0]
    limit = RateLimit(most=20, per_s=10.0, now=lambda: clock[0])

    def say(name: str, method: str = "warning", **fields: object) -> dict[str, Any] | None:
        try:
            return dict(limit(None, method, {"event": name, **fields}))
        except structlog.DropEvent:
            return None

    assert [say("lost") is not None for _ in range(50)] == [True] * 20 + [False] * 30
    assert say("other") == {"event": "other"}
    assert say("lost", logger="a library's own") is not None
    assert say("lost", "error") == {"event": "lost"}
    clock[0] = 10.0
    assert say("lost") == {"event": "lost", "suppressed": 30}
    assert say("lost") == {"event": "lost"}


def test_a_name_that_falls_silent_is_told_by_another() -> None:
    """What was held back is told once, by the next line of whatever name after the window."""
    clock = [0.0]
    limit = RateLimit(most=1, per_s=10.0, now=lambda: clock[0])

    def say(name: str, method: str = "warning", **fields: object) -> dict[str, Any] | None:
        try:
            return dict(limit(None, method, {"event": name, **fields}))
        except structlog.DropEvent:
            return None

    for _ in range(4):
        say("lost")
        say("library", logger="asyncpg")
    assert say("other") == {"event": "other"}, "their windows are not over"
    clock[0] = 10.0
    assert say("other") == {"event": "other", "suppressed_before": {"lost": 3, "library asyncpg": 3}}
    assert say("third") == {"event": "third"}
    assert say("lost") == {"event": "lost"}


def test_errors_are_limited_too_but_ten_times_later() -> None:
    """A loop that fails for ever does not fill the disk, and warnings of that name do not hold errors back."""
    clock = [0.0]
    limit = RateLimit(most=2, per_s=10.0, now=lambda: clock[0])

    def passes(method: str) -> bool:
        try:
            limit(None, method, {"event": "lost"})
        except structlog.DropEvent:
            return False
        return True

    assert [passes("warning") for _ in range(3)] == [True, True, False]
    assert [passes("error") for _ in range(25)] == [True] * 20 + [False] * 5
    clock[0] = 10.0
    assert passes("error")


def test_a_flood_through_the_whole_log_stays_small() -> None:
    """A loop that fails ten thousand times writes twenty lines, a library's loop too."""
    stream = io.StringIO()
    log.setup("info", "json", stream)
    for number in range(10_000):
        structlog.get_logger().warning("source_lost", number=number)
        logging.getLogger("websockets").warning("lost %d", number)
    assert len(lines(stream)) == 40


def test_the_limiter_does_not_grow_for_ever() -> None:
    """Names that somebody makes up do not fill the memory."""
    limit = RateLimit()
    for number in range(5_000):
        limit(None, "info", {"event": f"name {number}"})
    assert len(limit._windows) <= 1_001
