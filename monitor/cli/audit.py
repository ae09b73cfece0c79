"""`audit`: is what the database holds what the chain says?"""

import secrets
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress

from monitor import audit
from monitor.audit import Audited, Auditor
from monitor.cli import stores, tables
from monitor.cli.loop import until_stopped
from monitor.cli.options import ConfigFile, NodeAddress, read_config
from monitor.cli.say import called, complain, explain, tell
from monitor.config import Config
from monitor.errors import ConfigError, MonitorError, UsageError, leaves
from monitor.node import nodes_of
from monitor.pipeline import spans
from monitor.pipeline.compare import Difference
from monitor.pipeline.spans import Span
from monitor.programs import registry_of

_DIFFERS, _NOT_DONE, _STOPPED = 1, 2, 130
_MOST_SHOWN = 50


def audit_slots(
    slots: Annotated[int, typer.Option(min=1, metavar="N", help="How many slots are compared.")] = 50,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Draw the same slots again; not given: new ones.")
    ] = None,
    from_slot: Annotated[int | None, typer.Option(min=0, metavar="SLOT", help="Only from this slot on.")] = None,
    to_slot: Annotated[int | None, typer.Option(min=0, metavar="SLOT", help="Only up to this slot.")] = None,
    repair: Annotated[bool, typer.Option("--repair/--no-repair", help="Make holes of slots that differ.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    endpoint: NodeAddress = None,
    config: ConfigFile = None,
) -> None:
    """
    Compare slots drawn at random with the chain, row for row.

    Drawn are finalized slots that the database claims to be complete and that the node still has. Their blocks are
    fetched and decoded afresh. Compared are trades (every column, and their order), launches, completed curves,
    graduations and pools; what is stored and not on the chain is found as well. A slot that differs becomes a hole
    (`audit`), which the daemon fetches again at `finalized` and settles: what was missing comes, what is on no chain
    becomes void, and a value that contradicts the chain is replaced, with all that was made of it.

    Exit codes: 0 all is equal; 1 something differs; 2 it could not be done, or not for every slot.
    """
    settings = read_config(config, endpoint=endpoint)
    if from_slot is not None and to_slot is not None and from_slot > to_slot:
        raise UsageError(f"slot {from_slot} lies behind slot {to_slot}", mend="give the earlier one first")
    wanted = Span(from_slot or 0, audit.LAST if to_slot is None else to_slot)
    seed = secrets.randbits(32) if seed is None else seed
    try:
        found = until_stopped(_audit(settings, wanted, slots, seed, repair=repair))
    except* MonitorError as errors:
        if any(isinstance(leaf, ConfigError) for leaf in leaves(errors)):
            raise
        explain(errors)
        raise typer.Exit(_NOT_DONE) from None
    if found is None:
        raise typer.Exit(_STOPPED)
    tell(msgspec.json.encode(as_json(found, seed)).decode()) if json else _show(found, seed, repair=repair)
    if found.differences or found.failed:
        raise typer.Exit(_DIFFERS if found.differences else _NOT_DONE)


async def _audit(config: Config, wanted: Span, count: int, seed: int, *, repair: bool) -> Audited:
    registry = registry_of(config)
    async with nodes_of(config, registry.followed) as nodes, stores.opened_or_started(config) as store:
        auditor = Auditor(store, nodes.archive, registry, everything=config.pumpswap.pools == "all")
        claimed = await auditor.claimed(wanted)
        drawn = audit.draw(claimed, count, seed)
        console = Console(stderr=True)
        with Progress(console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task("slots", total=len(drawn))
            found = await auditor.audit(drawn, spans.count(claimed), lambda: bar.advance(task))
        if repair:
            await auditor.repair(found)
        return found


def as_json(found: Audited, seed: int) -> dict[str, Any]:
    """Return an audit as a JSON object."""
    return {
        "slots": found.slots,
        "claimed_slots": found.claimed,
        "blocks": found.blocks,
        "seed": seed,
        "rows": found.rows,
        "inexact": found.inexact,
        "untold": found.untold,
        "missing": found.count("missing"),
        "extra": found.count("extra"),
        "different": found.count("different"),
        "share": found.share,
        "failed": [{"slot": slot, "reason": reason} for slot, reason in sorted(found.failed.items())],
        "holes": found.filed,
        "differences": [_difference(one) for one in found.differences],
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "slot": one.slot,
        "how": one.how,
        "fact": one.key.kind,
        "key": one.key.name,
        "signature": one.signature,
        "column": one.member or None,
        "stored": _json(one.stored),
        "chain": _json(one.chain),
    }


def _json(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _show(found: Audited, seed: int, *, repair: bool) -> None:
    if found.differences:
        titles = ("slot", "how", "fact", "which", "signature", "column", "stored", "chain")
        tables.show(titles, [_row(one) for one in found.differences[:_MOST_SHOWN]])
        if len(found.differences) > _MOST_SHOWN:
            tell(f"and {len(found.differences) - _MOST_SHOWN:,} more (--json shows all)")
    tell(
        f"{found.slots:,} of {found.claimed:,} slots that are claimed complete were compared (seed {seed}), "
        f"{found.blocks:,} of them with a block: {found.rows:,} rows, {found.inexact:,} of them ordered by arrival"
    )
    tell(
        f"{found.count('missing'):,} rows missing, {found.count('extra'):,} extra, {found.count('different'):,} values "
        f"different: {found.share:.4%} of the rows are as the chain says"
    )
    if found.untold:
        tell(f"{found.untold:,} events could not be compared: their blocks alone do not tell them completely")
    for slot, reason in sorted(found.failed.items())[:_MOST_SHOWN]:
        complain(f"slot {slot} could not be compared: {reason}")
    stubborn = sum(not audit.is_mendable(one) for one in found.differences)
    if stubborn:
        tell(f"{stubborn:,} trades stand under another time, and are not overwritten: somebody else must have done it")
    if found.filed:
        tell(f"{len(found.filed):,} slots are holes now, to be fetched again: {called()} holes")
    elif found.differences and not repair:
        tell("nothing was repaired (--no-repair)")


def _row(one: Difference) -> tuple[str | None, ...]:
    which = " ".join(str(part) for part in one.key.name if part != one.signature)
    return (str(one.slot), one.how, one.key.kind, which, one.signature, one.member, _text(one.stored), _text(one.chain))


def _text(value: Any) -> str | None:
    return None if value is None else str(_json(value))
