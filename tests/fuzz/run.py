"""
Fuzz every target for a time or a number of inputs, and print what came of it.

`python -m tests.fuzz.run --seconds 150` (in all), or `--runs 10000000` (in all). One process per target, `--jobs` at a
time; seeds are fixed and each corpus begins with recorded data, in a folder of its own that is gone afterwards. Exit
status 1: an input raised, gave a wrong row, or took too long or too much memory; it is kept in `--keep`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import TARGETS

# How much of the inputs or of the time each target gets: those with most to find the most.
WEIGHTS = {"frame": 10, "transaction": 30, "answer": 10, "payload": 40, "account": 10}
INPUT_LIMIT_S, MEMORY_LIMIT_MB = 10, 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one target did."""

    target: str
    executions: int
    seconds: float
    covered: int
    crashes: int
    wrong_rows: int
    text: str


def main() -> int:
    """Run what the command line names; return the exit status."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        names = options.targets or sorted(TARGETS, key=lambda name: -WEIGHTS[name])
        outcomes = list(pool.map(lambda name: _fuzz(name, names, Path(folder), options), names))
    print(f"{'target':<12} {'executions':>11} {'seconds':>8} {'edges':>6} {'crashes':>8} {'wrong rows':>11}")
    for one in outcomes:
        print(f"{one.target:<12} {one.executions:>11,} {one.seconds:>8.0f} {one.covered:>6} {one.crashes:>8}", end="")
        print(f" {one.wrong_rows:>11}")
    total = sum(one.executions for one in outcomes)
    crashes, wrong = sum(one.crashes for one in outcomes), sum(one.wrong_rows for one in outcomes)
    print(f"{'all':<12} {total:>11,} {'':>8} {'':>6} {crashes:>8} {wrong:>11}")
    for one in outcomes:
        print(one.text, end="")
    is_enough = all(one.executions > 0 for one in outcomes)
    return 0 if is_enough and not crashes and not wrong else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fuzz the way from bytes to facts.")
    limit = parser.add_mutually_exclusive_group(required=True)
    limit.add_argument("--seconds", type=int, help="of all processes together, divided by --jobs on the clock")
    limit.add_argument("--runs", type=int, help="inputs of all targets together")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes at a time")
    parser.add_argument("--seed", type=int, default=1, help="where chance begins (default: 1)")
    parser.add_argument("--keep", type=Path, default=Path(".cache/fuzz-found"), help="folder of bad inputs")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="which (default: all)")
    return parser.parse_args()


def _fuzz(name: str, names: list[str], folder: Path, options: argparse.Namespace) -> Outcome:
    share = WEIGHTS[name] / sum(WEIGHTS[one] for one in names)
    limit = (
        f"-runs={round(options.runs * share)}" if options.runs else f"-max_total_time={round(options.seconds * share)}"
    )
    corpus = folder / name
    corpus.mkdir()
    options.keep.mkdir(exist_ok=True, parents=True)
    command = [
        sys.executable, "-m", "tests.fuzz.fuzzer", name, str(corpus), limit, f"-seed={options.seed}",
        f"-artifact_prefix={options.keep}/{name}-", "-print_final_stats=1", "-verbosity=1",
        f"-timeout={INPUT_LIMIT_S}", f"-rss_limit_mb={MEMORY_LIMIT_MB}",
    ]  # fmt: skip
    log = folder / f"{name}.log"
    with log.open("wb") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False)
    return _read(name, log.read_text(errors="replace"), done.returncode)


def _read(name: str, text: str, status: int) -> Outcome:
    executions = re.findall(r"number_of_executed_units: (\d+)", text)
    seconds = re.findall(r"Done \d+ runs in (\d+) second", text)
    covered = re.findall(r"cov: (\d+)", text)
    is_wrong = "WrongRow" in text
    return Outcome(
        target=name,
        executions=int(executions[-1]) if executions else 0,
        seconds=float(seconds[-1]) if seconds else 0,
        covered=int(covered[-1]) if covered else 0,
        crashes=int(status != 0 and not is_wrong),
        wrong_rows=int(is_wrong),
        text=f"\n=== {name} ended with status {status}\n{_report(text)}\n" if status else "",
    )


def _report(text: str) -> str:
    """Return what is worth reading of a process that ended badly: the Python exception and the input."""
    start = text.find("=== Uncaught Python exception")
    return text[start : start + 6000] if start >= 0 else text[-3000:]


if __name__ == "__main__":
    sys.exit(main())
