"""Follow a node's subscriptions for as long as it takes: connect, subscribe, forward, reconnect."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import structlog

from monitor.errors import SourceLost
from monitor.sources import rpc
from monitor.sources.recovery import Recovery
from monitor.sources.session import Limits, open_session
from monitor.sources.silence import Silence
from monitor.sources.subscriptions import Stray, Told
from monitor.sources.tally import FeedTally
from monitor.sources.translate import BLOCKS, SLOTS, Translator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from monitor.sources.endpoint import Endpoint
    from monitor.sources.notices import Outlet
    from monitor.sources.session import Session

log = structlog.get_logger(__name__)

LOGS = "logs"
_MAX_STRAYS = 20
_QUEUED_BLOCKS = 4  # of some 10 MB each


class Tap(Protocol):
    """Who hears what a feed hears, word by word: a recorder."""

    def connected(self, labels: Mapping[int, str]) -> None:
        """Every subscription stands; `labels` tell what each number is."""

    def frame(self, raw: bytes) -> None:
        """The node said this: a notification of ours, or something that cannot be read."""

    def polled(self, slot: int, body: bytes) -> None:
        """The node answered this when it was asked for the block of a slot."""

    def lost(self, reason: str) -> None:
        """The connection is gone."""


class NoTap:
    """Nobody listens."""

    def connected(self, labels: Mapping[int, str]) -> None:
        """Ignore it."""

    def frame(self, raw: bytes) -> None:
        """Ignore it."""

    def polled(self, slot: int, body: bytes) -> None:
        """Ignore it."""

    def lost(self, reason: str) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True)
class Following:
    """How to follow a node. A connection that held for `settled_after_s` makes the next reconnect a quick one again."""

    endpoint: Endpoint
    programs: frozenset[str]
    commitment: rpc.Commitment = "confirmed"
    limits: Limits = field(default_factory=Limits)
    first_delay_s: float = 0.5
    longest_delay_s: float = 30.0
    settled_after_s: float = 10.0


def logs_source(following: Following, *, name: str = LOGS, tap: Tap | None = None) -> LiveSource:
    """Return a source of the log lines of every transaction that names one of the programs."""
    wanted = {program: rpc.logs_subscribe(program, following.commitment) for program in sorted(following.programs)}
    return LiveSource(following, {**wanted, SLOTS: rpc.slot_subscribe()}, name=name, tap=tap)


def blocks_source(following: Following, *, name: str = BLOCKS, tap: Tap | None = None) -> LiveSource:
    """Return a source of whole blocks: for a node of one's own, since few providers offer it."""
    limits = replace(following.limits, queue_frames=min(_QUEUED_BLOCKS, following.limits.queue_frames))
    following = replace(following, limits=limits)
    return LiveSource(following, {BLOCKS: rpc.block_subscribe(following.commitment)}, name=name, tap=tap)


class LiveSource:
    """
    A feed that lives through the loss of its connections.

    `tally` counts what came. `name` is the feed's name in notices, logs and metrics.
    """

    def __init__(
        self, following: Following, wanted: Mapping[str, rpc.Request], *, name: str, tap: Tap | None = None
    ) -> None:
        self.name = name
        self.tally = FeedTally()
        self._following = following
        self._wanted = wanted
        self._tap: Tap = tap or NoTap()
        self._translator = Translator(name, following.programs, self.tally, following.commitment)
        self._recovery = Recovery(name, following, self.tally, self._translator, self._tap)
        self._silence = Silence(following.limits.subscription_silence_s)

    async def run(self, out: Outlet) -> None:
        """
        Put out notices for ever.

        Raises:
            SourceRefused: If the node will never serve us like this.
        """
        await self._recovery.run(lambda: self._follow(out), out)

    async def _follow(self, out: Outlet) -> None:
        """Live through one connection."""
        async with open_session(self._following.endpoint, self._following.limits) as session:
            await session.subscribe(self._wanted)
            self._recovery.connected(session.labels, self._following.endpoint)
            self._silence.connected(session.labels.values())
            await self._forward(session, out)

    async def _forward(self, session: Session, out: Outlet) -> None:
        strays = 0
        while True:
            raw, event = await session.receive()
            self.tally.frames += 1
            self.tally.frame_bytes += len(raw)
            match event:
                case Told(label=label, message=message):
                    self._tap.frame(raw)
                    await self._recovery.put(self._translator.notices(message), out)
                    self._check_silence(label, session.waited_s)
                case Stray(reason=reason):
                    self.tally.strays += 1
                    strays += 1
                    if strays > _MAX_STRAYS:
                        raise SourceLost(f"{self._following.endpoint} mixes up subscriptions: {reason}", kind="strays")
                case rpc.Malformed(reason=reason, excerpt=excerpt) as malformed:
                    self._tap.frame(raw)
                    self._translator.unreadable(malformed)
                    log.debug("frame_malformed", source=self.name, reason=reason, excerpt=excerpt)

    def _check_silence(self, label: str, waited_s: float) -> None:
        silent = self._silence.told(label, waited_s)
        if silent is not None:
            raise SourceLost(
                f"{self._following.endpoint} goes on with {label}, and has told nothing of {silent.label} for"
                f" {silent.silent_s:.3g} s",
                kind="subscription_silent",
            )
