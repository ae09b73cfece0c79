"""Metrics: every count is told under its name, and the page answers whoever asks, and only as it should."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from decoders.core.types import Launch
from monitor.channel import Channel
from monitor.errors import ConfigError
from monitor.health import Health
from monitor.metrics import PREFIX, Meters, check, serve
from monitor.pipeline.announce import Drops
from monitor.pipeline.ledger import Ledger
from monitor.sources.tally import FeedTally, RpcTally

if TYPE_CHECKING:
    from collections.abc import Mapping

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def made() -> tuple[Meters, Ledger, Health]:
    """Return meters of an idle daemon."""
    ledger = Ledger()
    health = Health(ledger)
    return Meters(ledger, health, Drops(), now=lambda: 1_700_000_010.0), ledger, health


def samples(text: str) -> Samples:
    """Return what a page says, read by Prometheus' own parser; no series may stand there twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))
            assert key not in found
            assert sample.name.startswith(PREFIX)
            found[key] = sample.value
    return found


async def ask(url: str, request: str = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") -> tuple[str, str]:
    """Send a request, and return the answer's first line and body."""
    host, _, port = url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    writer.write(request.encode())
    answer = (await asyncio.wait_for(reader.read(), 5)).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return head.split("\r\n")[0], body


async def page(meters: Meters) -> Samples:
    """Return what the page of these meters says."""
    async with serve(meters, "127.0.0.1:0") as url:
        assert url is not None
        line, body = await ask(url)
        assert line == "HTTP/1.1 200 OK"
        return samples(body)


def value(found: Samples, name: str, labels: Mapping[str, str] | None = None) -> float:
    """Return one series' value."""
    return found[name, tuple(sorted((labels or {}).items()))]


async def test_every_count_is_told() -> None:
    """Each number of each part comes out under its own name and labels."""
    meters, ledger, health = made()
    ledger.received, ledger.decoded, ledger.failed, ledger.irrelevant, ledger.foreign = 100, 60, 20, 15, 3
    ledger.stored, ledger.upgraded, ledger.duplicates, ledger.refused, ledger.other = 50, 4, 3, 2, 1
    ledger.filtered["pumpswap"] = 30
    ledger.told_count = 97
    ledger.head_slot, ledger.newest_slot, ledger.newest_time = 9, 7, 1_700_000_000
    ledger.events["pumpfun", "launch"] = 11
    ledger.faults["pumpfun", "undecodable"] = 2
    ledger.faults["pumpfun", "too_large"] = 1
    ledger.tail_bytes["pumpswap"] = 40
    health.commits, health.commit_rows, health.commit_seconds, health.retrying = 5, 50, 0.25, "commit: refused"
    feed = FeedTally(
        frames=1, frame_bytes=2, received=10, repeats=3, irrelevant=4, malformed=1, forwarded=2, root_slot=8
    )
    feed.losses["silent"] = 6
    rpc = RpcTally(answer_bytes=77)
    rpc.requests["getTransaction", "ok"] = 12
    rpc.seconds["getTransaction"] = 1.5
    live: Channel[int] = Channel(1, "live")
    live.offer(1)
    live.offer(2)
    meters.feed("logs", feed)
    meters.rpc(rpc, lambda: 21)
    meters.watch(live, None)
    found = await page(meters)

    plain = {
        "notices_received_total": 100,
        "notices_in_flight": 5,
        "foreign_program_data_total": 3,
        "facts_in_flight": 7,
        "slot_head": 9,
        "slot_newest_event": 7,
        "lag_seconds": 10,
        "commits_total": 5,
        "commit_rows_total": 50,
        "commit_seconds_total": 0.25,
        "database_retrying": 1,
        "rpc_answer_bytes_total": 77,
        "pending_fetches": 21,
    }
    assert {name: value(found, name) for name in plain} == plain
    outcomes = {name: value(found, "facts_total", {"outcome": name}) for name in ("stored", "upgraded", "duplicate")}
    assert outcomes == {"stored": 50, "upgraded": 4, "duplicate": 3}
    assert value(found, "facts_total", {"outcome": "filtered"}) == 30
    assert value(found, "notices_total", {"outcome": "failed_on_chain"}) == 20
    assert value(found, "events_total", {"venue": "pumpfun", "fact": "launch"}) == 11
    assert value(found, "faults_total", {"venue": "pumpfun", "reason": "undecodable"}) == 2
    assert value(found, "faults_total", {"venue": "pumpfun", "reason": "too_large"}) == 1
    assert value(found, "filtered_facts_total", {"venue": "pumpswap"}) == 30
    assert value(found, "tail_bytes_total", {"venue": "pumpswap"}) == 40
    assert value(found, "feed_losses_total", {"feed": "logs", "reason": "silent"}) == 6
    assert value(found, "slot_root", {"feed": "logs"}) == 8
    counts = {
        name: value(found, f"feed_{name}_total", {"feed": "logs"})
        for name in ("frames", "frame_bytes", "received", "repeats", "irrelevant", "malformed", "forwarded", "strays")
    }
    assert list(counts.values()) == [1, 2, 10, 3, 4, 1, 2, 0]
    assert value(found, "rpc_requests_total", {"method": "getTransaction", "status": "ok"}) == 12
    assert value(found, "rpc_seconds_total", {"method": "getTransaction"}) == 1.5
    assert value(found, "channel_depth", {"channel": "live"}) == 1
    assert value(found, "channel_capacity", {"channel": "live"}) == 1
    assert value(found, "live_dropped_total", {"branch": "live"}) == 1
    assert value(found, "live_dropped_total", {"branch": "redis"}) == 0


async def test_an_idle_daemon_tells_no_lag() -> None:
    """Nothing is made up: without a fact there is no lag, without a node no RPC."""
    found = await page(made()[0])
    names = {name for name, _ in found}
    assert "lag_seconds" not in names
    assert not any(name.startswith("rpc_") for name in names)
    assert value(found, "facts_in_flight") == 0


async def test_the_ledger_shows_a_leak() -> None:
    """A fact that was told and never settled stays in flight, and so does a notice."""
    meters, ledger, _ = made()
    ledger.received = 1
    ledger.told(
        Launch(
            program="p", venue="pumpfun", event="CreateEvent", nth=0, signature="s", slot=5, block_time=7, index=None,
            position=0, mint="m", pool="c", creator="u", payer=None, name="n", symbol="s", uri="", decimals=6,
            supply=None, quote_mint="q",
        )
    )  # fmt: skip
    found = await page(meters)
    assert value(found, "facts_in_flight") == 1
    assert value(found, "notices_in_flight") == 1
    assert not any("mint" in dict(labels) for _, labels in found)


def test_two_daemons_in_one_process_do_not_meet() -> None:
    """There is no module state: each registry has its own metrics."""
    for _ in range(2):
        CollectorRegistry().register(made()[0])


@pytest.mark.parametrize(
    ("request_text", "first_line"),
    [
        ("GET /metrics?name[]=x HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK"),
        ("GET /etc/passwd HTTP/1.1\r\n\r\n", "HTTP/1.1 404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
        ("\r\n\r\n", "HTTP/1.1 405 Method Not Allowed"),
    ],
)
async def test_the_page_answers_what_it_knows(request_text: str, first_line: str) -> None:
    """GET and HEAD of one page; a refusal for all else."""
    async with serve(made()[0], "127.0.0.1:0") as url:
        assert url is not None
        line, body = await ask(url, request_text)
    assert line == first_line
    assert ("launch_monitor_" in body) == (first_line.endswith("200 OK") and not request_text.startswith("HEAD"))


async def test_nonsense_gets_no_answer_and_does_no_harm() -> None:
    """Too long a head is cut off; the next one is served."""
    async with serve(made()[0], "127.0.0.1:0") as url:
        assert url is not None
        with contextlib.suppress(ConnectionError):
            assert await ask(url, "x" * 100_000) == ("", "")
        assert (await ask(url))[0] == "HTTP/1.1 200 OK"


async def test_stop_does_not_wait_for_a_silent_client() -> None:
    """Somebody who connects and says nothing cannot hold the daemon's end up."""
    async with asyncio.timeout(2):
        async with serve(made()[0], "127.0.0.1:0") as url:
            assert url is not None
            host, _, port = url.removeprefix("http://").removesuffix("/metrics").rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            await ask(url)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        with pytest.raises(ConnectionError):
            await ask(url)


async def test_ipv6_and_no_page() -> None:
    """An IPv6 address stands in brackets; nothing set means no page."""
    async with serve(made()[0], "[::1]:0") as url:
        assert url is not None
        assert url.startswith("http://[::1]:")
        assert (await ask(url))[0] == "HTTP/1.1 200 OK"
    for nothing in (None, ""):
        async with serve(made()[0], nothing) as url:
            assert url is None


async def test_an_address_that_is_not_to_be_had_is_a_config_error() -> None:
    """In use, malformed, or of another machine: the error names setting and way out."""
    async with serve(made()[0], "127.0.0.1:0") as url:
        assert url is not None
        taken = url.removeprefix("http://").removesuffix("/metrics")
        for listen in (taken, "9464", "127.0.0.1:99999", "192.0.2.1:0"):
            with pytest.raises(ConfigError, match=r"metrics\.listen") as caught:
                async with serve(made()[0], listen):
                    pass
            assert "free" in (caught.value.mend or "")
            with pytest.raises(ConfigError, match=r"metrics\.listen"):
                check(listen)
    for fine in ("127.0.0.1:0", taken, "", None):
        check(fine)
