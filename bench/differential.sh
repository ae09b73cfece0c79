#!/bin/sh
# Compares our readers with anchorpy's (bench/differential.py), after making the environments of both where they are missing.
set -eu
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
[ -e "$venv/.installed" ] || make --no-print-directory "VENV=$venv" "$venv/.installed"
bench/anchorpy/setup
exec "$venv/bin/python" -m bench.differential "$@"
