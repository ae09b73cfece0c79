"""The README says what is."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from monitor.cli.app import COMMANDS
from monitor.config import markdown_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_settings_is_the_programs_own() -> None:
    """To mend it, put `monitor.config.markdown_table()` between the marks."""
    found = re.search(r"<!-- settings: .* -->\n(.*?)<!-- /settings -->", README, re.DOTALL)
    assert found is not None
    assert found[1].strip() == markdown_table().strip()


def test_every_command_it_names_exists_and_every_command_is_named() -> None:
    """`version` speaks for itself."""
    named = set(re.findall(r"launch-monitor (?:--?\S+ )*([a-z][a-z-]+)", README)) & {*COMMANDS, *_words()}
    assert named - set(COMMANDS) == set()
    assert set(COMMANDS) - named <= {"version", "replay"}
    assert "replay FILE" in README


def _words() -> set[str]:
    """Return what stands where a command would in lines that people type."""
    return set(re.findall(r"^[$#] (?:\S*/)?launch-monitor ([a-z-]+)", README, re.MULTILINE))


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    """Links inside of the repository name files that exist."""
    if not urlsplit(target).scheme:
        assert (ROOT / target).exists()


@pytest.mark.parametrize("target", sorted(set(re.findall(r"^\$ make ([a-z]+)", README, re.MULTILINE))))
def test_make_knows_the_targets(target: str) -> None:
    """What people type exists."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
