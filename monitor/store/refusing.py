"""Find out which facts of a batch the database refuses, by trying parts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from decoders.core.types import Fact

    Refuses = Callable[[Sequence[Fact]], Awaitable[Exception | None]]
    """Tries facts, takes them back, and returns why the database does not take them; None: it does."""


async def find_refused(facts: Mapping[int, Fact], refuses: Refuses) -> dict[int, str]:
    """
    Return the places of the facts that are refused, with the database's words; {} if all are taken.

    Args:
        facts: By place in the batch, in its order.
        refuses: Tries some of them.
    """
    return await _each(facts, refuses) or await _last_straw(facts, refuses)


async def _each(facts: Mapping[int, Fact], refuses: Refuses) -> dict[int, str]:
    """Find by bisection the facts that are refused alone."""
    found: dict[int, str] = {}
    halves = [list(facts)]
    while halves:
        places = halves.pop()
        error = await refuses([facts[at] for at in places])
        if error is None:
            continue
        if len(places) == 1:
            found[places[0]] = str(error)
        else:
            middle = len(places) // 2
            halves += [places[:middle], places[middle:]]
    return found


async def _last_straw(facts: Mapping[int, Fact], refuses: Refuses) -> dict[int, str]:
    """Find the first fact with which those before it are refused, though each is taken alone."""
    places = list(facts)
    low, high, words = 1, len(places) + 1, ""
    while low < high:
        middle = (low + high) // 2
        error = await refuses([facts[at] for at in places[:middle]])
        if error is None:
            low = middle + 1
        else:
            high, words = middle, str(error)
    return {places[low - 1]: words} if words else {}
