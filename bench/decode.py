"""
Measure decoding on one core, against anchorpy on the same bytes.

Both sides take turns on the same core, in CPU time, so that what else runs on the machine weighs on both alike. A
figure is the median over rounds. The garbage collector stays on, as in the daemon.
"""

from __future__ import annotations

import os
import time
from binascii import a2b_base64
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any, cast

from bench import notices
from bench.peer import ROOT, Peer
from bench.table import Row
from decoders.core.carriers import LogWalker
from decoders.core.registry import load
from monitor.data import idls_in
from monitor.sources import rpc
from monitor.sources.tally import FeedTally
from monitor.sources.translate import Translator

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.notices import Sample
    from decoders.core.registry import Registry
    from decoders.core.types import Decoded, Record, TxNotice

    Work = Callable[[], Any]

FOLLOWED = ("pumpfun", "pumpswap", "raydium_launchpad")
ROUNDS = 15
REPEATS, RIVAL_REPEATS = 10, 1
TIMES = 10.0
# Goals in microseconds: line to record, notification to facts.
GOALS = {"225-byte": (3.0, 6.0), "397-byte": (5.0, 12.0)}
WARM_UP = 3


class Ours:
    """The daemon's own functions from frame to facts, wired as the daemon does."""

    def __init__(self) -> None:
        self.registry: Registry = load(FOLLOWED, idls_in(ROOT / "idl"))
        self._events = {program: pad.events for program, pad in self.registry.programs.items()}

    def line(self, line: str) -> Record:
        """Read one `Program data:` line of Pump.fun."""
        data = a2b_base64(line[14:], strict_mode=True)
        return self._events[notices.PUMPFUN][data[:8]].layout.read(data, 8)

    def translator(self) -> Translator:
        """Return a translator that has heard nothing yet, of a connection as the daemon's: a subscription a program."""
        translator = Translator("logs", self.registry.followed, FeedTally())
        translator.connected({notices.SUBSCRIPTION: notices.PUMPFUN})
        return translator

    def facts(self, translator: Translator, text: bytes) -> Decoded:
        """Read one frame of the websocket."""
        read: Any = rpc.read_message  # whose answer is a notification here, and that a TxNotice: see _check
        [notice] = translator.notices(read(text))
        return self.registry.decode(cast("TxNotice", notice), {})


def rows() -> list[Row]:
    """Return the figures of decoding, in microseconds."""
    ours = Ours()
    samples = [notices.old_trades(), notices.new_trades()]
    with Peer() as peer:
        pin(peer)
        found = [row for sample in samples for row in _against(peer, ours, sample)]
    return [*found, _fresh(ours, samples[1])]


def pin(peer: Peer) -> None:
    """Keep this process and anchorpy's on one core, the last that we may use."""
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    peer.ask(do="core", number=core)


def _against(peer: Peer, ours: Ours, sample: Sample) -> list[Row]:
    frames = [text.encode() for text in sample.texts]

    def lines() -> None:
        for line in sample.lines:
            ours.line(line)

    def whole() -> None:
        translator = ours.translator()
        for frame in frames:
            ours.facts(translator, frame)

    _check(ours, sample)
    peer.load(notices.PUMPFUN, "TradeEvent", _members(ours, sample))
    most_line, most_whole = GOALS[sample.title.partition(" ")[0]]
    return [
        _compare(peer, f"log line to record, {sample.title}", lines, "line", sample.lines, most_line),
        _compare(peer, f"notification to facts, {sample.title}", whole, "notice", sample.texts, most_whole),
    ]


def _members(ours: Ours, sample: Sample) -> int:
    """Return how many members the sample's events have: anchorpy can read no fewer than its IDL says."""
    return sum(value is not None for value in ours.line(sample.lines[0]).values)


def _check(ours: Ours, sample: Sample) -> None:
    """See that each notification gives one trade, complete, and each line a record that ends where it should."""
    translator = ours.translator()
    for text, line in zip(sample.texts, sample.lines, strict=True):
        decoded = ours.facts(translator, text.encode())
        if [fact.kind for fact in decoded.facts] != ["trade"] or decoded.partial or decoded.needs:
            raise AssertionError(decoded)
        record = decoded.facts[0].record
        if record is None or ours.line(line).values != record.values:
            raise AssertionError(line)


def _compare(peer: Peer, what: str, work: Work, kind: str, texts: list[str], most: float) -> Row:
    peer.ask(do="keep", key=what, texts=texts)
    mine, theirs = [], []
    for number in range(WARM_UP + ROUNDS):
        spent = timed(work, REPEATS)
        rival = peer.ask(do="time", program=notices.PUMPFUN, what=kind, key=what, repeats=RIVAL_REPEATS)
        if rival["events"] != len(texts):
            raise AssertionError(f"anchorpy found {rival['events']} events in {len(texts)} texts")
        if number >= WARM_UP:
            mine.append(spent / REPEATS / len(texts) * 1e6)
            theirs.append(rival["seconds"] / RIVAL_REPEATS / len(texts) * 1e6)
    return Row(what, median(mine), "us", best=min(mine), most=most, rival=median(theirs), times=TIMES)


def timed(work: Work, repeats: int) -> float:
    """Return the CPU seconds of `repeats` calls."""
    started = time.process_time()
    for _ in range(repeats):
        work()
    return time.process_time() - started


def _fresh(ours: Ours, sample: Sample) -> Row:
    """Measure the first trade of a token, whose curve's address is derived then."""
    spent = []
    for seed in range(3):
        fresh = notices.fresh_mints(sample, seed + 2)
        frames = [text.encode() for text in fresh.texts]
        translator = ours.translator()

        def whole(frames: list[bytes] = frames, translator: Translator = translator) -> None:
            for frame in frames:
                ours.facts(translator, frame)

        spent.append(timed(whole, 1) / len(frames) * 1e6)
    return Row(f"notification to facts, {sample.title}, each of another mint", median(spent), "us", best=min(spent))


def stages() -> dict[str, dict[str, float]]:
    """
    Return microseconds per notification of each stage, by sample: where the time goes.

    Each is the difference between working up to it and up to the one before, because a stage that is measured alone
    finds its input in another state: strings that were hashed before, or that have left the cache.
    """
    ours = Ours()
    found: dict[str, dict[str, float]] = {}
    for sample in (notices.old_trades(), notices.new_trades()):
        works = _cumulative(ours, [text.encode() for text in sample.texts])
        spent: dict[str, list[float]] = defaultdict(list)
        for _ in range(ROUNDS):
            for name, work in works.items():
                spent[name].append(timed(work, REPEATS) / REPEATS / len(sample.texts) * 1e6)
        upto = {name: median(values) for name, values in spent.items()}
        before = [0.0, *upto.values()]
        found[sample.title] = {name: value - before[at] for at, (name, value) in enumerate(upto.items())}
        found[sample.title]["sum"] = before[-1]
    return found


def _cumulative(ours: Ours, frames: list[bytes]) -> dict[str, Work]:
    walker: Any = LogWalker(ours.registry.followed)
    read_message: Any = rpc.read_message
    events = ours.registry.programs[notices.PUMPFUN].events

    def read() -> None:
        for frame in frames:
            read_message(frame)

    def translate() -> None:
        translator = ours.translator()
        for frame in frames:
            translator.notices(read_message(frame))

    def walk() -> None:
        translator = ours.translator()
        for frame in frames:
            notice: Any = translator.notices(read_message(frame))[0]
            walker.walk(notice.logs)

    def record() -> None:
        translator = ours.translator()
        for frame in frames:
            notice: Any = translator.notices(read_message(frame))[0]
            [event] = walker.walk(notice.logs).emitted
            events[event.data[:8]].layout.read(event.data, 8)

    def whole() -> None:
        translator = ours.translator()
        for frame in frames:
            ours.facts(translator, frame)

    return {
        "JSON text to message": read,
        "message to notice": translate,
        "log lines to event bytes": walk,
        "event bytes to record": record,
        "record to facts, and the rest of decode": whole,
    }
