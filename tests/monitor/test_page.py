"""The pages answer whoever asks, and only as they should; nobody can hold them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time

import pytest

from monitor.errors import ConfigError
from monitor.metrics import check, serve
from monitor.metrics.server import listening, text_page
from tests.monitor.daemon import idle


async def ask(url: str, request: str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> tuple[str, str]:
    """Send a request, and return the answer's first line and body."""
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(request.encode())
    answer = (await asyncio.wait_for(reader.read(), 5)).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head.split("\r\n")[0], body


@pytest.mark.parametrize(
    ("request_text", "first_line", "said"),
    [
        ("GET /metrics?name[]=x HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK", "launch_monitor_standby 0.0"),
        ("GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK", "launch_monitor_standby 0.0"),
        ("GET /livez HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK", "ok write: 0 done, 0 waiting\n"),
        ("GET /readyz HTTP/1.1\r\n\r\n", "HTTP/1.1 503 Service Unavailable", "failed source: no feed is subscribed"),
        ("GET /etc/passwd HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found", "GET /readyz\n"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed", "GET or HEAD\n"),
        ("\r\n\r\n", "HTTP/1.1 405 Method Not Allowed", "GET or HEAD\n"),
    ],
)
async def test_a_page_answers_what_it_knows(request_text: str, first_line: str, said: str) -> None:
    """GET of a few pages; a refusal for all else. HEAD says the same without a body."""
    async with serve(idle()[0], "127.0.0.1:0") as url:
        assert url is not None
        line, body = await ask(url, request_text)
        assert (line, said in body) == (first_line, True)
        if request_text.startswith("GET"):
            assert await ask(url, request_text.replace("GET", "HEAD")) == (first_line, "")


async def test_each_check_has_its_line_and_its_reason() -> None:
    """For people as text, for programs as JSON; a reason never holds a secret."""
    meters, _, health = idle()
    health.subscribed.set()
    health.ask("journal", lambda: None)
    async with serve(meters, "127.0.0.1:0") as url:
        assert url is not None
        line, body = await ask(url, "GET /readyz HTTP/1.1\r\n\r\n")
        assert line == "HTTP/1.1 200 OK"
        assert [text.split(":")[0] for text in body.splitlines()] == [
            "ok source", "ok pipeline", "ok database", "ok progress", "ok lag", "ok journal",
        ]  # fmt: skip
        health.trouble("commit: cannot reach postgresql://u:hidden-one@h/db")
        line, body = await ask(url, "GET /readyz HTTP/1.1\r\n\r\n")
        assert line == "HTTP/1.1 503 Service Unavailable"
        assert "failed database: retrying, because commit: cannot reach postgresql://u:***@h/db\n" in body
        line, body = await ask(url, "GET /readyz?format=json HTTP/1.1\r\n\r\n")
        answer = json.loads(body)
        assert (line, answer["ok"]) == ("HTTP/1.1 503 Service Unavailable", False)
        assert [item["name"] for item in answer["checks"] if not item["ok"]] == ["database"]
        assert "hidden-one" not in body
        assert (await ask(url, "GET /livez HTTP/1.1\r\n\r\n"))[0] == "HTTP/1.1 200 OK"


async def test_nonsense_gets_no_answer_and_does_no_harm() -> None:
    """Too long a head is cut off; the next one is served."""
    async with serve(idle()[0], "127.0.0.1:0") as url:
        assert url is not None
        with contextlib.suppress(ConnectionError):
            assert await ask(url, "x" * 100_000) == ("", "")
        assert (await ask(url))[0] == "HTTP/1.1 200 OK"


async def test_stop_does_not_wait_for_a_silent_client() -> None:
    """Somebody who connects and says nothing cannot hold the daemon's end up."""
    async with asyncio.timeout(2):
        async with serve(idle()[0], "127.0.0.1:0") as url:
            assert url is not None
            host, _, port = url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            await ask(url)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionError):
            await ask(url)


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    """Neither one who takes no bytes, of a page larger than every buffer, nor one who asks too slowly holds us."""
    large = text_page(200, "x" * 30_000_000)
    async with listening({"/": lambda _: large}, "127.0.0.1", 0, timeout_s=0.2) as server:
        port = server.sockets[0].getsockname()[1]
        clients = []
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"GET / HTT"):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(said)
            clients.append(client)
        began = time.monotonic()
        while time.monotonic() - began < 5 and len(asyncio.all_tasks()) == 1:  # noqa: ASYNC110 - both begin
            await asyncio.sleep(0.001)
        while time.monotonic() - began < 5 and len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - nobody says that they end
            await asyncio.sleep(0.01)
        assert len(asyncio.all_tasks()) == 1, "an exchange still hangs"
        for client in clients:
            client.close()


@pytest.mark.slow
async def test_many_who_hold_connections_are_bounded() -> None:
    """The 65th connection is closed at once; those before it are served."""
    async with listening({"/": lambda _: text_page(200, "x")}, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(64)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        first_reader, first_writer = held[0]
        first_writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await asyncio.wait_for(first_reader.read(), 5)).startswith(b"HTTP/1.1 200 OK")
        for _, one in held:
            one.close()


async def test_ipv6_and_no_page() -> None:
    """An IPv6 address stands in brackets; nothing set means no page."""
    async with serve(idle()[0], "[::1]:0") as url:
        assert url is not None
        assert url.startswith("http://[::1]:")
        assert (await ask(url))[0] == "HTTP/1.1 200 OK"
    for nothing in (None, ""):
        async with serve(idle()[0], nothing) as url:
            assert url is None


async def test_an_address_that_is_not_to_be_had_is_a_config_error() -> None:
    """In use, malformed, or of another machine: the error names setting and way out."""
    async with serve(idle()[0], "127.0.0.1:0") as url:
        assert url is not None
        taken = url.removeprefix("http://").removesuffix("/metrics")
        for listen in (taken, "9464", "127.0.0.1:99999", "192.0.2.1:0"):
            with pytest.raises(ConfigError, match=r"metrics\.listen") as caught:
                async with serve(idle()[0], listen):
                    pass
            assert "free" in (caught.value.mend or "")
            with pytest.raises(ConfigError, match=r"metrics\.listen"):
                check(listen)
    for fine in ("127.0.0.1:0", taken, "", None):
        check(fine)
