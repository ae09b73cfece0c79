"""Begins faults when they are due, each where it belongs: on the chain, on connections, on what leaves the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from simulator.faults.outages import Outages
from simulator.faults.schedule import Schedule
from simulator.layouts import Layout

if TYPE_CHECKING:
    from simulator.chain import Chain
    from simulator.faults.schedule import Fault
    from simulator.fork import Way
    from simulator.layouts import Change
    from simulator.node.node import Node

_CHANGED = "pumpfun.TradeEvent"


class Striker:
    """Carries out a schedule on one chain and its node. A fault that cannot begin yet waits for its turn."""

    def __init__(self, chain: Chain, node: Node, schedule: Schedule | None) -> None:
        self._chain = chain
        self._node = node
        self._struck = node.faults.struck
        self._outages = Outages(node)
        self._schedule = schedule or Schedule()
        self._began_slot: int | None = None
        self._waiting: list[Fault] = []
        self._behind_slots = 0
        self._old: tuple[int, int] = (0, 0)  # old slots that are yet to be told, and how old
        self.layouts: list[Layout] = []

    def add(self, fault: Fault) -> None:
        """Begin a fault at the next slot, or now if it strikes connections or what leaves the node."""
        if not self._begin(fault):
            self._waiting.append(fault)

    def follow(self, schedule: Schedule) -> None:
        """Carry out another schedule instead, whose slots count from the next one."""
        self._schedule, self._began_slot = schedule, None

    def step(self) -> None:
        """Begin what is due with the next slot."""
        if self._began_slot is None:
            self._began_slot = self._chain.slot
        due = [*self._waiting, *self._schedule.due(self._chain.slot - self._began_slot)]
        self._waiting = []
        for fault in due:
            # A fork needs a node that is not behind: who comes after it does not get in its way.
            waits = fault.kind in _ON_CHAIN and any(one.kind == "fork" for one in self._waiting)
            if waits or not self._begin(fault):
                self._waiting.append(fault)

    async def tell(self) -> None:
        """Have the node tell about a new block, or be behind."""
        if self._behind_slots:
            self._behind_slots -= 1
            self._chain.behind += 1
            return
        times, distance = self._old
        if times:
            self._old = (times - 1, distance)
            await self._node.tell_old(distance)
        for behind in range(self._chain.behind, -1, -1):
            self._chain.behind = behind
            await self._node.publish()

    async def calm(self) -> None:
        """End every fault, and forget what is yet to come; layouts stay changed."""
        self._schedule, self._waiting = Schedule(), []
        self._behind_slots, self._old = 0, (0, 0)
        self._node.faults.calm()
        await self._outages.calm()
        for connection in list(self._node.pubsub.connections):
            await connection.release()

    def _begin(self, fault: Fault) -> bool:
        if self._node.faults.arm(fault):
            return True
        begun = self._on_chain(fault) if fault.kind in _ON_CHAIN else self._outages.begin(fault)
        if begun:
            self._struck[fault.kind] += fault.count if fault.kind in ("skip_slots", "stale") else 1
        return begun

    def _on_chain(self, fault: Fault) -> bool:
        chain = self._chain
        match fault.kind:
            case "fork":
                return chain.fork(fault.count, cast("Way", fault.chosen))
            case "stale" if fault.chosen == "back":
                self._old = (fault.count, fault.distance)
            case _ if chain.is_forked:
                return False
            case "stale":
                self._behind_slots += fault.count
            case "skip_slots":
                chain.skip(fault.count)
            case _:
                self._change(fault)
        return True

    def _change(self, fault: Fault) -> None:
        name, _, event = (fault.of or _CHANGED).partition(".")
        world, first_slot = self._chain.market.world, self._chain.slot + 1
        program = {
            "pumpfun": world.pumpfun, "pumpswap": world.pumpswap,
            "raydium_launchpad": world.launchpad, "raydium_cpmm": world.cpmm,
        }[name]  # fmt: skip
        program.change(event, cast("Change", fault.chosen))
        self.layouts = [
            one._replace(last_slot=first_slot - 1) if (one.name, one.last_slot) == (name, None) else one
            for one in self.layouts
            if (one.name, one.first_slot) != (name, first_slot)
        ]
        self.layouts.append(Layout(name, first_slot, None, program.idl))


_ON_CHAIN = frozenset({"fork", "stale", "skip_slots", "layout_change", "grow_tail"})
