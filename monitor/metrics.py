"""
Every metric of the daemon, for Prometheus.

Counts live where they are made (`Ledger`, `FeedTally`, `RpcTally`, `Channel`) and a scrape reads them: no hot path touches
a metric. No mint and no wallet is a label.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from monitor.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from monitor.channel import Channel

PREFIX = "launch_monitor_"


class Meters(Collector):
    """Reads the parts of a daemon at each scrape."""

    def __init__(self, ledger: Any, health: Any, drops: Any) -> None:
        """Read these counts; `feed`, `rpc` and `watch` add what exists only in some runs."""
        self._ledger = ledger
        self._health = health
        self._drops = drops
        self._feeds: dict[str, Any] = {}
        self._rpc: Any = None
        self._waiting: Callable[[], int] | None = None
        self._channels: list[Channel[Any]] = []

    def feed(self, name: str, tally: Any) -> None:
        """Read a feed's counts."""
        self._feeds[name] = tally

    def rpc(self, tally: Any, waiting: Callable[[], int]) -> None:
        """Read an RPC client's counts, and how many fetches wait."""
        self._rpc = tally
        self._waiting = waiting

    def watch(self, *channels: Channel[Any] | None) -> None:
        """Read how full these channels are."""
        self._channels += [channel for channel in channels if channel is not None]

    def collect(self) -> Iterable[Metric]:
        """Yield every metric as it is now."""
        yield from self._notices()
        yield from self._events()
        yield from self._place()
        yield from self._feed_metrics()
        if self._rpc is not None:
            yield from self._rpc_metrics()

    def _notices(self) -> Iterator[Metric]:
        ledger = self._ledger
        yield _counter("notices_received", "Transactions that decode took", ledger.received)
        yield _counters(
            "notices",
            "Transactions by what became of them",
            "outcome",
            {"decoded": ledger.decoded, "failed_on_chain": ledger.failed, "irrelevant": ledger.irrelevant},
        )
        yield _counter("foreign_program_data", "`Program data:` lines of programs not followed", ledger.foreign)

    def _events(self) -> Iterator[Metric]:
        ledger = self._ledger
        events = CounterMetricFamily(PREFIX + "events", "Facts decoded", labels=["venue", "fact"])
        for (venue, kind), count in sorted(ledger.events.items()):
            events.add_metric([venue, kind], count)
        yield events
        yield _counters(
            "facts",
            "Facts by what became of them",
            "outcome",
            {
                "stored": ledger.stored,
                "upgraded": ledger.upgraded,
                "duplicate": ledger.duplicates,
                "refused": ledger.refused,
                "other": ledger.other,
                "filtered": ledger.filtered.total(),
            },
        )
        yield _gauge("facts_in_flight", "Facts decoded and not settled yet", ledger.in_flight)
        yield _counters("filtered_facts", "Facts of pools that are not stored", "venue", dict(ledger.filtered))
        yield _counters("tail_bytes", "Bytes after the last field that an IDL knows", "venue", dict(ledger.tail_bytes))
        faults = CounterMetricFamily(
            PREFIX + "faults", "What a followed program said and we could not store", labels=["venue"]
        )
        for (venue, _), count in sorted(ledger.faults.items()):
            faults.add_metric([venue], count)
        yield faults
        yield _counters(
            "live_dropped",
            "Announcements that nobody got",
            "branch",
            {"redis": self._drops.count, **{c.name: c.dropped for c in self._channels if c.name == "live"}},
        )

    def _place(self) -> Iterator[Metric]:
        ledger, health = self._ledger, self._health
        yield _gauge("slot_head", "Newest slot that a feed told of", max(ledger.head_slot, ledger.newest_slot))
        yield _gauge("slot_newest_event", "Slot of the newest fact", ledger.newest_slot)
        if ledger.newest_time:
            yield _gauge("lag_seconds", "Age of the newest fact by its block time", time.time() - ledger.newest_time)
        yield _counter("commits", "Batches committed", health.commits)
        yield _counter("commit_rows", "Facts in committed batches", health.commit_rows)
        yield _counter("commit_seconds", "Time spent in commits", health.commit_seconds)
        yield _gauge("database_retrying", "1 while a commit is tried again", int(health.retrying is not None))
        for what, read in (("depth", len), ("capacity", lambda channel: channel.capacity)):
            family = GaugeMetricFamily(f"{PREFIX}channel_{what}", f"Items: {what} of a channel", labels=["channel"])
            for channel in self._channels:
                family.add_metric([channel.name], read(channel))
            yield family

    def _feed_metrics(self) -> Iterator[Metric]:
        names = (
            "frames",
            "frame_bytes",
            "received",
            "repeats",
            "irrelevant",
            "malformed",
            "forwarded",
            "connects",
            "strays",
        )
        for what in names:
            family = CounterMetricFamily(f"{PREFIX}feed_{what}", f"Feed: {what.replace('_', ' ')}", labels=["feed"])
            for name, tally in self._feeds.items():
                family.add_metric([name], getattr(tally, what))
            yield family
        losses = CounterMetricFamily(PREFIX + "feed_losses", "Connections lost", labels=["feed", "reason"])
        for name, tally in self._feeds.items():
            for reason, count in sorted(tally.losses.items()):
                losses.add_metric([name, reason], count)
        yield losses

    def _rpc_metrics(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(PREFIX + "rpc_requests", "RPC calls", labels=["method", "status"])
        for (method, status), count in sorted(self._rpc.requests.items()):
            requests.add_metric([method, status], count)
        yield requests
        yield _counters("rpc_seconds", "Time spent in RPC calls", "method", dict(self._rpc.seconds))
        if self._waiting is not None:
            yield _gauge("pending_fetches", "Transactions and accounts that are looked for", self._waiting())


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, text, value=value)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def _counters(name: str, text: str, label: str, values: dict[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(PREFIX + name, text, labels=[label])
    for value, count in sorted(values.items()):
        family.add_metric([value], count)
    return family


@contextlib.contextmanager
def serve(meters: Meters, listen: str | None) -> Iterator[str | None]:
    """
    Serve metrics at http://`listen`/metrics; yields the address, None where there is none.

    Raises:
        ConfigError: If the address is malformed or in use.
    """
    if not listen:
        yield None
        return
    host, _, port = listen.rpartition(":")
    registry = CollectorRegistry()
    registry.register(meters)
    try:
        server, thread = start_http_server(int(port), host.strip("[]") or "127.0.0.1", registry)
    except (OSError, ValueError) as error:
        raise ConfigError(f"metrics.listen {listen}: {error}", mend="choose a free port, or 0 for any") from error
    try:
        yield f"http://{host}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
