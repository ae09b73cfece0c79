"""Metrics: every count is told under its name, what is lost shows, and nothing is made up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from monitor.channel import Channel
from monitor.metrics import PREFIX, Histogram, series_names
from monitor.metrics.declared import declared
from tests.monitor.daemon import busy, idle, notices

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from monitor.metrics import Meters

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(meters: Meters) -> Samples:
    """Return what is told, read by Prometheus' own parser; no series may stand there twice."""
    registry = CollectorRegistry()
    registry.register(meters)
    found: Samples = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            key = sample.name.removeprefix(PREFIX), tuple(sorted(sample.labels.items()))
            assert key not in found
            assert sample.name.startswith(PREFIX)
            found[key] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    """Return one series' value."""
    return found[name, tuple(sorted(labels.items()))]


def values(found: Samples, wanted: Mapping[str, float], **labels: str) -> dict[str, float]:
    """Return the values of series that have the same labels."""
    return {name: value(found, name, **labels) for name in wanted}


async def test_tasks_of_the_event_loop_are_counted() -> None:
    """A task that never ends shows; one that ended does not."""
    meters, _, _ = idle()
    before = value(samples(meters), "asyncio_tasks")
    waiting = asyncio.create_task(asyncio.Event().wait())
    assert value(samples(meters), "asyncio_tasks") == before + 1
    waiting.cancel()
    await asyncio.wait({waiting})
    assert value(samples(meters), "asyncio_tasks") == before


def test_every_plain_count_is_told(tmp_path: Path) -> None:
    """Each number without labels comes out under its own name."""
    plain: dict[str, float] = {
        "foreign_program_data_total": 3,
        "slot_newest_event": 7,
        "slot_final": 3,
        "lag_seconds": 10,
        "batch_rows_sum": 7,
        "batch_rows_count": 1,
        "batch_seconds_sum": 0.25,
        "commit_retries_total": 1,
        "database_retrying": 1,
        "standby": 0,
        "asyncio_tasks": 0,
        "history_blocks_total": 31,
        "history_transactions_total": 32,
        "finality_rows_total": 51,
        "finality_doubts_total": 52,
        "finality_failures_total": 53,
        "holes_oldest_age_seconds": 500,
        "pending_fetches": 21,
        "journal_bytes": 4_096,
        "journal_limit_bytes": 8_192,
        "journal_newest_seq": 90,
        "journal_done_seq": 80,
        "journal_full": 0,
        "journal_fsync_seconds_sum": 0.5,
        "start_time_seconds": 1_700_000_010,
    }
    assert values(samples(busy(tmp_path)[0]), plain) == plain


def test_every_count_of_a_feed_is_told(tmp_path: Path) -> None:
    """By the feed's name, and of several feeds how they compare."""
    told: dict[str, float] = {
        "feed_frames_total": 1,
        "feed_bytes_total": 2,
        "feed_received_total": 10,
        "feed_repeats_total": 3,
        "feed_irrelevant_total": 4,
        "feed_malformed_total": 1,
        "feed_forwarded_total": 2,
        "feed_connects_total": 5,
        "feed_up": 1,
        "feed_behind_slots": 7,
        "feed_strays_total": 0,
        "feed_first_total": 30,
        "feed_misses_total": 4,
        "feed_behind_seconds_count": 6,
        "feed_behind_seconds_sum": 1.5,
        "slot_head": 9,
        "slot_root": 8,
        "slot_progress": 5,
    }
    found = samples(busy(tmp_path)[0])
    assert values(found, told, feed="logs") == told
    assert value(found, "feed_losses_total", feed="logs", reason="silent") == 6
    assert value(found, "feed_up", feed="refused") == 0
    buckets = [value(found, "feed_behind_seconds_bucket", feed="logs", le=le) for le in ("0.1", "0.5", "+Inf")]
    assert buckets == [1, 3, 6]


def test_every_count_with_labels_is_told(tmp_path: Path) -> None:
    """Programs have their names, faults few reasons whatever they say, holes those left on purpose apart."""
    found = samples(busy(tmp_path)[0])
    assert value(found, "events_total", program="pumpfun", fact="launch") == 11
    assert value(found, "faults_total", program="pumpfun", reason="unknown_discriminator") == 2
    assert value(found, "faults_total", program="pumpfun", reason="undecodable") == 4
    assert value(found, "unknown_discriminators_total", program="pumpfun") == 2
    assert value(found, "tail_bytes_total", program="pumpswap") == 40
    assert value(found, "notices_received_total", feed="logs", program="pumpfun") == 100
    assert value(found, "notices_total", feed="blocks", program="*", outcome="decoded") == 50
    assert value(found, "notices_in_flight", feed="logs", program="pumpfun") == 5
    assert value(found, "events_decoded_total", program="pumpfun") == 9
    assert value(found, "events_settled_total", program="pumpfun", outcome="stored") == 7
    assert value(found, "events_in_flight", program="pumpfun") == 2
    assert value(found, "holes_open", reason="reconnect") == 1
    assert value(found, "holes_open_slots", reason="reconnect") == 7
    assert value(found, "holes_left_slots", reason="skipped_by_start") == 5
    assert value(found, "holes_found_total", reason="reconnect") == 1
    assert value(found, "holes_filled_total", by="history") == 1
    assert value(found, "redecoded_total", by="redecode") == 1
    assert value(found, "voided_rows_total", program="pumpfun") == 1
    assert value(found, "revived_rows_total", program="pumpfun") == 2
    assert value(found, "history_tries_total", outcome="failed") == 34
    assert value(found, "rpc_requests_total", endpoint="first", method="getTransaction", status="ok") == 12
    assert value(found, "rpc_seconds_total", endpoint="first", method="getTransaction") == 1.5
    assert value(found, "rpc_answer_bytes_total", endpoint="first") == 77
    assert value(found, "channel_depth", channel="live") == 1
    assert value(found, "channel_capacity", channel="live") == 1
    assert value(found, "live_dropped_total", branch="live") == 1
    assert value(found, "live_dropped_total", branch="redis") == 0
    assert 0 < value(found, "disk_free_bytes", of="journal") <= value(found, "disk_size_bytes", of="journal")
    assert value(found, "check", check="database") == 0


def test_all_that_is_declared_is_told_and_the_other_way_round(tmp_path: Path) -> None:
    """The list of declarations is what a daemon with every part exports: alerts and boards may trust it."""
    assert {PREFIX + name for name, _ in samples(busy(tmp_path)[0])} == series_names()
    for metric in declared():
        assert metric.text
        assert not metric.name.endswith("_total")
        assert not {"mint", "wallet", "signature", "venue"} & set(metric.labels)


def test_an_idle_daemon_makes_nothing_up() -> None:
    """Without a fact there is no lag, without a node no RPC, without a look at the database no number of holes."""
    names = {name for name, _ in samples(idle()[0])}
    assert not {"lag_seconds", "holes_open", "slot_final", "journal_bytes", "ledger_difference"} & names
    assert not any(name.startswith("rpc_") for name in names)


def test_a_program_is_told_before_its_first_event() -> None:
    """A rate of zero needs a series: each followed program has its counters from the start."""
    meters, flow, _ = idle()
    meters.programs({"address": "pumpswap"})
    found = samples(meters)
    assert value(found, "events_total", program="pumpswap", fact="trade") == 0
    assert value(found, "unknown_discriminators_total", program="pumpswap") == 0
    assert value(found, "faults_total", program="pumpswap", reason="undecodable") == 0
    assert value(found, "voided_rows_total", program="pumpswap") == 0
    flow.events["pumpswap", "trade"] = 5
    assert value(samples(meters), "events_total", program="pumpswap", fact="trade") == 5


def test_a_ledger_that_balances_and_one_that_leaks(tmp_path: Path) -> None:
    """The difference is 0; one notice that vanishes shows, and so does one that is counted twice."""
    meters, _, _ = busy(tmp_path)
    assert value(samples(meters), "ledger_difference", ledger="notices") == 0
    assert value(samples(meters), "ledger_difference", ledger="events") == 0
    leaky = notices()
    meters.account("notices", leaky)
    leaky.in_flight["logs", "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P"] -= 1
    assert value(samples(meters), "ledger_difference", ledger="notices") == 1
    leaky.went["blocks", "*", "decoded"] += 1
    assert value(samples(meters), "ledger_difference", ledger="notices") == 2, "one must not make up for the other"
    leaky.in_flight["nobody", "*"] = 1
    assert value(samples(meters), "ledger_difference", ledger="notices") == 3


def test_two_daemons_in_one_process_do_not_meet() -> None:
    """There is no module state: each registry has its own metrics."""
    for _ in range(2):
        CollectorRegistry().register(idle()[0])


def test_channels_are_read_at_each_scrape() -> None:
    """Not when they were handed over."""
    meters, _, _ = idle()
    wire: Channel[int] = Channel(5, "wire")
    meters.watch(wire)
    assert value(samples(meters), "channel_depth", channel="wire") == 0
    wire.offer(1)
    assert value(samples(meters), "channel_depth", channel="wire") == 1


@given(st.lists(st.floats(0, 100)), st.lists(st.floats(0.001, 50), min_size=1, unique=True).map(sorted))
def test_a_histogram_counts_as_one_does_by_hand(observed: list[float], bounds: list[float]) -> None:
    """Each bucket holds the values up to its bound, the last one all."""
    histogram = Histogram(bounds)
    for one in observed:
        histogram.observe(one)
    expected = [(str(bound), sum(one <= bound for one in observed)) for bound in bounds]
    assert [*histogram.buckets()] == [*expected, ("+Inf", len(observed))]
    assert histogram.count == len(observed)
    assert histogram.total == pytest.approx(sum(observed))


@pytest.mark.parametrize("bounds", [(), (1, 1), (2, 1)])
def test_bounds_of_a_histogram_rise(bounds: tuple[float, ...]) -> None:
    """Anything else is a mistake in the program."""
    with pytest.raises(ValueError, match="must rise"):
        Histogram(bounds)


def test_a_histogram_of_counts_made_elsewhere() -> None:
    """It has one count more than bounds."""
    assert [*Histogram.of((1, 2), [3, 4, 5], 9.0).buckets()] == [("1.0", 3), ("2.0", 7), ("+Inf", 12)]
    with pytest.raises(ValueError, match="2 bounds make 3 counts"):
        Histogram.of((1, 2), [3, 4], 9.0)
