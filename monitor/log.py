"""The daemon's own log: a constant event name, facts as fields; for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import structlog

from monitor.config import redact_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from structlog.typing import EventDict, Processor

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SWEEP_ABOVE = 1_000
_MORE_ERRORS = 10
_Name: TypeAlias = tuple[str, str, bool]


@dataclass(slots=True)
class _Window:
    """What one event name did since `began_at`: lines that passed, and lines that were held back."""

    began_at: float
    passed: int = 0
    held: int = 0


class RateLimit:
    """
    Lets at most `most` lines of one event name through per `per_s` seconds (of a library: one logger's lines).

    The first line of a name after a pause says how many were `suppressed`; of a name that has fallen silent the next
    line of any other says so (`suppressed_before`: count by name). Errors have a limit of their own, ten times as high:
    an error that repeats by the thousand says nothing new, and fills a disk.
    """

    def __init__(self, most: int = 20, per_s: float = 10.0, now: Callable[[], float] = time.monotonic) -> None:
        """Limit to `most` lines per event name in `per_s` seconds of the clock `now`."""
        self._most = most
        self._per_s = per_s
        self._now = now
        self._windows: dict[_Name, _Window] = {}
        self._holding: set[_Name] = set()

    def __call__(self, _: Any, method: str, event: EventDict) -> EventDict:
        """Pass an event on, or raise DropEvent."""
        is_error = method in ("error", "critical", "exception")
        name = str(event.get("event")), str(event.get("logger", "")), is_error
        now = self._now()
        window = self._window(name, now, event)
        if window.passed >= self._most * (_MORE_ERRORS if is_error else 1):
            window.held += 1
            self._holding.add(name)
            raise structlog.DropEvent
        window.passed += 1
        if self._holding:
            self._tell_of_others(now, event)
        return event

    def _window(self, name: _Name, now: float, event: EventDict) -> _Window:
        window = self._windows.get(name)
        if window is not None and now - window.began_at < self._per_s:
            return window
        if window is not None and window.held:
            event["suppressed"] = window.held
            self._holding.discard(name)
        if len(self._windows) > _SWEEP_ABOVE:
            # Event names are constants; whoever makes up thousands is not limited, but bounded.
            self._windows.clear()
            self._holding.clear()
        self._windows[name] = _Window(now)
        return self._windows[name]

    def _tell_of_others(self, now: float, event: EventDict) -> None:
        over = [name for name in self._holding if now - self._windows[name].began_at >= self._per_s]
        if over:
            event["suppressed_before"] = {
                f"{name} {logger}".rstrip(): self._windows[name, logger, is_error].held
                for name, logger, is_error in over
            }
        for name in over:
            self._holding.discard(name)
            del self._windows[name]


class FromLibraries(logging.Handler):
    """Hands what libraries log by the standard way to structlog, as event `library` with `logger` and `message`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on one record."""
        logger = structlog.get_logger()
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        logger.log(min(record.levelno // 10 * 10, logging.CRITICAL), "library", **fields)


def hide_secrets(_: Any, __: str, line: Any) -> str:
    """Redact every address in a finished line, tracebacks included. It stands behind the renderer, which makes text."""
    return redact_text(line)


def setup(
    level: Literal["debug", "info", "warning", "error"],
    form: Literal["auto", "console", "json"],
    stream: TextIO | None = None,
) -> None:
    """
    Configure structlog, and the standard library's log through it, for this process.

    Args:
        level: Least severe level that is written; of libraries, warnings at least.
        form: `auto`: for people where `stream` is a terminal, JSON elsewhere.
        stream: Where lines go; None: standard error.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    renderers: list[Processor]
    if form == "console" or (form == "auto" and terminal):
        plain = structlog.dev.plain_traceback
        renderers = [structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain)]
    else:
        renderers = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            RateLimit(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
            hide_secrets,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[FromLibraries()], force=True)
    logging.captureWarnings(capture=True)
