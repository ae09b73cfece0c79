"""Open a websocket to a node: every way in which that fails, in our own words."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI

from monitor.errors import SourceLost, SourceRefused
from monitor.sources.endpoint import REFUSING_STATUSES, refusal, retry_after_s

if TYPE_CHECKING:
    from monitor.sources.endpoint import Endpoint
    from monitor.sources.session import Limits

# The library's debug lines hold request paths, and so API keys: its logger is not among those that users turn on.
_silent = logging.getLogger("monitor.sources.session.websockets")
_silent.disabled = True


class Connection(ClientConnection):
    """A connection that counts what comes, frames that are not whole yet included."""

    heard_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Count, and go on as usual."""
        self.heard_bytes += len(data)
        super().data_received(data)


async def connect_to(endpoint: Endpoint, limits: Limits) -> Connection:
    """
    Connect.

    Raises:
        SourceLost: If the node cannot be reached now.
        SourceRefused: If it will never let us in like this.
    """
    # Errors are told in our own words: those of the library may quote the address. `from None` for the same reason.
    try:
        connection = await connect(
            endpoint.url,
            additional_headers=dict(endpoint.headers),
            compression=None,
            max_size=limits.max_frame_bytes,
            max_queue=limits.queue_frames,
            open_timeout=limits.open_timeout_s,
            # Pings keep the way open. Their answers wait behind a full queue, so silence is judged by frames alone.
            ping_interval=limits.ping_interval_s,
            ping_timeout=None,
            close_timeout=limits.close_timeout_s,
            logger=_silent,
            create_connection=Connection,
        )
        return cast("Connection", connection)
    except InvalidStatus as error:
        status = error.response.status_code
        if status in REFUSING_STATUSES:
            raise refusal(endpoint, status) from None
        asked = retry_after_s(error.response.headers.get("Retry-After"), datetime.now(UTC))
        raise SourceLost(f"{endpoint} answers HTTP {status}", retry_after_s=asked, kind="http") from None
    except InvalidURI:
        raise SourceRefused(f"{endpoint} is no websocket address", mend="it begins with ws:// or wss://") from None
    except InvalidHandshake as error:
        raise SourceLost(f"{endpoint} does not speak websocket ({type(error).__name__})", kind="handshake") from None
    except TimeoutError:
        raise SourceLost(f"{endpoint} does not answer within {limits.open_timeout_s:g} s", kind="timeout") from None
    except ssl.SSLError as error:  # an OSError too; a certificate may be renewed while we try
        cause = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else error.reason
        mend = "look whether the node's certificate is valid, and whether this machine's clock is right"
        raise SourceLost(f"{endpoint} cannot be trusted: {cause}", mend=mend, kind="tls") from None
    except OSError as error:
        raise SourceLost(f"{endpoint} cannot be reached: {error.strerror or error}", kind="unreachable") from None
