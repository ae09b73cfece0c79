"""The daemon's own log: a constant event name, facts as fields; for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, Any, Literal

import structlog

from monitor.config import redact_text

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from structlog.typing import EventDict, Processor

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SWEEP_ABOVE = 1_000


class RateLimit:
    """
    Lets at most `most` lines of one event name through per `per_s` seconds (of a library: one logger's lines).

    The first line after a pause says how many were `suppressed`. Errors are never held back.
    """

    def __init__(self, most: int = 20, per_s: float = 10.0, now: Callable[[], float] = time.monotonic) -> None:
        """Limit to `most` lines per event name in `per_s` seconds of the clock `now`."""
        self._most = most
        self._per_s = per_s
        self._now = now
        self._windows: dict[tuple[str, str], tuple[float, int, int]] = {}

    def __call__(self, _: Any, method: str, event: EventDict) -> EventDict:
        """Pass an event on, or raise DropEvent."""
        name = str(event.get("event")), str(event.get("logger", ""))
        now = self._now()
        began, passed, held = self._windows.get(name, (now, 0, 0))
        if now - began >= self._per_s:
            if held:
                event["suppressed"] = held
            began, passed, held = now, 0, 0
        if passed >= self._most and method not in ("error", "critical", "exception"):
            self._windows[name] = (began, passed, held + 1)
            raise structlog.DropEvent
        if len(self._windows) > _SWEEP_ABOVE:
            self._windows.clear()  # event names are constants; whoever makes up thousands is not limited, but bounded
        self._windows[name] = (began, passed + 1, held)
        return event


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
