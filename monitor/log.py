"""The daemon's log: a constant event name, facts as fields; for people on a terminal, JSON elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, Literal

import structlog

from monitor.config import redact_url

if TYPE_CHECKING:
    from structlog.typing import Processor

Event = MutableMapping[str, Any]
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


class RateLimit:
    """
    Lets at most `most` lines of one event name through per `per_s` seconds.

    The first line after a pause says how many were `suppressed`. Errors are never held back.
    """

    def __init__(self, most: int = 20, per_s: float = 10.0) -> None:
        """Limit to `most` lines per event name in `per_s` seconds."""
        self._most = most
        self._per_s = per_s
        self._windows: dict[str, tuple[float, int, int]] = {}

    def __call__(self, _: Any, method: str, event: Event) -> Event:
        """Pass an event on, or raise DropEvent."""
        name = str(event.get("event"))
        now = time.monotonic()
        began, passed, held = self._windows.get(name, (now, 0, 0))
        if now - began >= self._per_s:
            if held:
                event["suppressed"] = held
            began, passed, held = now, 0, 0
        if passed >= self._most and method not in ("error", "critical"):
            self._windows[name] = (began, passed, held + 1)
            raise structlog.DropEvent
        self._windows[name] = (began, passed + 1, held)
        return event


def hide_secrets(_: Any, __: str, event: Event) -> Event:
    """Redact each address among the fields."""
    for key, value in event.items():
        if isinstance(value, str) and "://" in value:
            event[key] = " ".join(redact_url(word) if "://" in word else word for word in value.split(" "))
    return event


def setup(level: Literal["debug", "info", "warning", "error"], form: Literal["auto", "console", "json"]) -> None:
    """Configure structlog, and the standard library's log through it, for this process."""
    for_people = form == "console" or (form == "auto" and sys.stderr.isatty())
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if for_people else structlog.processors.JSONRenderer()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    structlog.configure(
        processors=[RateLimit(), *shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[handler], force=True)
