"""
Run the benchmarks and print their table: `make bench`, or `python -m bench.run [--write] [--stages] [--strict]`.

A benchmark is a module with `rows() -> list[Row]`; a new one is added to SUITES and to docs/BENCHMARKS.md. Those in
LONG take many minutes and run only when named; each is a program of its own as well (`python -m bench.outage`).
"""

from __future__ import annotations

import argparse
import importlib
import sys

from bench.table import PAGE, machine, markdown, update

SUITES = ("decode", "journal", "store", "replay")
LONG = ("live", "growth", "compression", "outage", "soak")


def main() -> int:
    """Run what the command line names; return the exit status."""
    parser = argparse.ArgumentParser(description="Measure, and compare with the goals.")
    parser.add_argument(
        "suites", nargs="*", default=SUITES, choices=[*SUITES, *LONG, SUITES], help="which (default: all short ones)"
    )
    parser.add_argument("--write", action="store_true", help="put the tables into docs/BENCHMARKS.md")
    parser.add_argument("--stages", action="store_true", help="also tell where the time goes")
    parser.add_argument("--strict", action="store_true", help="exit with status 1 if a goal is missed")
    options = parser.parse_args()
    misses: list[str] = []
    for suite in options.suites:
        module = importlib.import_module(f"bench.{suite}")
        if suite in LONG:
            misses += module.show(module.rows(), write=options.write)
            continue
        rows = module.rows()
        text = f"{machine()}\n\n{markdown(rows)}"
        if options.stages and hasattr(module, "stages"):
            text += f"\n\n{stage_table(module.stages())}"
        print(text, flush=True)
        misses += [miss for row in rows for miss in row.misses]
        if options.write:
            update(PAGE, suite, text)
    for miss in misses:
        print(f"MISSED {miss}")
    return 1 if misses and options.strict else 0


def stage_table(stages: dict[str, dict[str, float]]) -> str:
    """Return a table of stages, one column per sample, in microseconds."""
    names = list(dict.fromkeys(name for spent in stages.values() for name in spent))
    lines = [f"| stage (us) | {' | '.join(stages)} |", "|---|" + "---:|" * len(stages)]
    lines += [f"| {name} | {' | '.join(f'{spent[name]:.2f}' for spent in stages.values())} |" for name in names]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
