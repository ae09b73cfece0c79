#!/bin/sh
# Runs the benchmarks (bench/run.py), after making the environments of both sides where they are missing.
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
[ -e "$venv/.installed" ] || make --no-print-directory "VENV=$venv" "$venv/.installed"
bench/anchorpy/setup
exec "$venv/bin/python" -m bench.run "$@"
