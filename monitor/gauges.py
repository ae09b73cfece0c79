"""What operators see of a daemon: its parts handed to the meters, and to whoever judges whether it moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monitor.health import Work
from monitor.metrics import Meters
from monitor.pipeline.accounts import EventAccount, FeedAccount, NoticeAccount
from monitor.pipeline.leads import BEHIND_BUCKETS_S
from monitor.servers import journal_dir

if TYPE_CHECKING:
    from monitor.daemon import Daemon
    from monitor.journal import Journal


def meters_of(daemon: Daemon) -> Meters:
    """Return meters that read every part of a daemon; its health hears of the parts that must move."""
    pipeline, journal = daemon.pipeline, daemon.journal
    decoding = pipeline.decoding
    meters = Meters(decoding.ledger, pipeline.health, pipeline.drops)
    meters.programs({program: pad.name for program, pad in decoding.registry.programs.items()})
    tallies = {source.name: source.tally for source in daemon.nodes.feeds}
    meters.account("feeds", FeedAccount(daemon.inlet, tallies))
    meters.account("notices", NoticeAccount(daemon.inlet, pipeline.wire, decoding.ledger, tallies))
    meters.account("events", EventAccount(decoding.ledger, decoding, pipeline.durable, pipeline.writing))
    meters.watch(pipeline.wire, pipeline.durable, pipeline.live)
    for name, tally in tallies.items():
        meters.feed(name, tally)
    meters.up(daemon.up)
    meters.race(decoding.leads.feeds, BEHIND_BUCKETS_S)
    for endpoint, counted in {**daemon.nodes.rpc.tallies, **daemon.nodes.archive.tallies}.items():
        meters.rpc(counted, lambda: len(daemon.fetcher), endpoint=endpoint)
    meters.history(daemon.history.tally)
    if daemon.finality is not None:
        meters.finality(daemon.finality.tally)
    meters.holes(daemon.holes)
    meters.upkeep(daemon.upkeep.tally)
    ledger, wire = decoding.ledger, pipeline.wire
    pipeline.health.watch(Work("decode", lambda: ledger.received, lambda: len(wire)))
    pipeline.health.ask("feeds", lambda: _feeds_down(daemon))
    if pipeline.announcer is not None:
        pipeline.health.ask("redis", lambda: _untold(daemon))
    if journal is not None:
        _journal(daemon, journal, meters)
    return meters


def _journal(daemon: Daemon, journal: Journal, meters: Meters) -> None:
    config, health, inlet = daemon.config, daemon.health, daemon.inlet
    meters.journal(journal, config.journal.max_bytes, journal.sync_seconds)
    meters.disk("journal", journal_dir(config))
    health.ask("journal", lambda: journal.full_because)
    health.watch(Work("inlet", lambda: journal.newest_seq - inlet.waiting, lambda: inlet.waiting))
    unsynced = lambda: 0 if journal.is_full else journal.newest_seq - journal.synced_seq  # noqa: E731 - reads as what it is
    health.watch(Work("journal", lambda: journal.synced_seq, unsynced, behind_database=False))


def _feeds_down(daemon: Daemon) -> str | None:
    """Return what is wrong if none of the feeds is up."""
    return None if any(True for _ in daemon.up) else "no feed is up now"


def _untold(daemon: Daemon) -> str | None:
    """Return why nothing is announced now."""
    because = daemon.pipeline.drops.because
    return None if because is None else f"announcements are dropped, because {because}"
