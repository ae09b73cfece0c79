"""The pages that tell how the daemon is: metrics for Prometheus, and whether it lives and is ready."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from monitor.config import parse_listen, redact_text
from monitor.errors import ConfigError
from monitor.metrics.server import Page, json_page, listening, text_page

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable, Sequence

    from monitor.metrics.checks import Check
    from monitor.metrics.meters import Meters


def check(listen: str | None) -> None:
    """
    Look whether `serve` could listen there.

    Raises:
        ConfigError: If the address makes no sense, or is not to be had.
    """
    if not listen:
        return
    try:
        host, port = parse_listen(listen)
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            with socket.create_server(address[:2], family=family):
                pass
    except (OSError, ValueError) as error:
        raise _not_to_be_had(listen, error) from error


def _not_to_be_had(listen: str, error: Exception) -> ConfigError:
    reason = (isinstance(error, OSError) and error.strerror) or error
    return ConfigError(
        f"metrics.listen {listen}: {reason}",
        mend="set metrics.listen to a free HOST:PORT (port 0: any), or to nothing for no page",
    )


@contextlib.asynccontextmanager
async def serve(meters: Meters, listen: str | None) -> AsyncGenerator[str | None]:
    """
    Serve /metrics, /livez and /readyz inside this context.

    On the event loop, not on a thread: what is counted changes there alone, so that one scrape is one moment; and a
    loop that hangs answers nobody. Nothing here asks the database or a node.

    Args:
        meters: What is collected at each request, and who knows how the daemon is.
        listen: "HOST:PORT" or "[IPV6]:PORT", port 0 for any free one; None or "": there is no page.

    Yields:
        The address of the metrics with its real port; None where there is none.

    Raises:
        ConfigError: If the address makes no sense, or is not to be had.
    """
    if not listen:
        yield None
        return
    async with contextlib.AsyncExitStack() as stack:
        try:
            host, port = parse_listen(listen)
            server = await stack.enter_async_context(listening(_pages(meters), host, port))
        except (OSError, ValueError) as error:
            raise _not_to_be_had(listen, error) from error
        yield _url(server)


def _url(server: asyncio.Server) -> str:
    host, port, *_ = server.sockets[0].getsockname()
    return f"http://[{host}]:{port}/metrics" if ":" in host else f"http://{host}:{port}/metrics"


def _pages(meters: Meters) -> dict[str, Callable[[str], Page]]:
    registry = CollectorRegistry()
    registry.register(meters)
    ProcessCollector(registry=registry)

    def metrics(_: str) -> Page:
        return Page(200, CONTENT_TYPE_LATEST, generate_latest(registry))

    return {
        "/metrics": metrics,
        "/": metrics,
        "/livez": lambda query: _judged(meters.health.liveness(), query),
        "/readyz": lambda query: _judged(meters.health.readiness(), query),
    }


def _judged(checks: Sequence[Check], query: str) -> Page:
    """Return each check on its own line with its reason, or as JSON; 503 if one is not content."""
    status = 200 if all(found.is_ok for found in checks) else 503
    told = [(found.name, found.is_ok, redact_text(found.reason)) for found in checks]
    if query == "format=json":
        listed = [{"name": name, "ok": is_ok, "reason": reason} for name, is_ok, reason in told]
        return json_page(status, {"ok": status == 200, "checks": listed})
    return text_page(
        status, "".join(f"{'ok' if is_ok else 'failed'} {name}: {reason}\n" for name, is_ok, reason in told)
    )
