"""What operators are given fits the daemon: metrics that exist, alerts with a paragraph each, rules that fire."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from monitor.cli.app import COMMANDS
from monitor.config.settings import keys
from monitor.metrics import PREFIX, series_names
from monitor.metrics.declared import declared

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "alerts.yml"
RULES_TEST = ROOT / "deploy" / "prometheus" / "alerts.test.yml"
BOARD = ROOT / "deploy" / "grafana" / "launch-monitor.json"
RUNBOOK = ROOT / "docs" / "OPERATIONS.md"
ALERTS = re.findall(r"^      - alert: (\w+)$", RULES.read_text(), re.MULTILINE)
# Of Prometheus and of its client library; `process_*` stands on the page as well.
OTHERS = {"up", "process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_cpu_seconds_total"}
LABELS = {label for metric in declared() for label in metric.labels} | {"le", "instance", "job"}


def board() -> dict[str, Any]:
    """Return the board."""
    loaded: dict[str, Any] = json.loads(BOARD.read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    """Return the board's panels that draw something."""
    return [panel for panel in board()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return every expression of the board."""
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def rules() -> list[str]:
    """Return the expression of each alert, which may take several lines."""
    return re.findall(r"^        expr: (.*?)\n        (?:for|labels):", RULES.read_text(), re.MULTILINE | re.DOTALL)


def names(expression: str) -> set[str]:
    """Return the metrics that an expression reads."""
    return set(re.findall(rf"\b{PREFIX}\w+|\bup\b|\bprocess_\w+", expression))


def test_alerts_and_boards_read_what_exists() -> None:
    """Each metric is one that the daemon exports, each label one that some metric has."""
    assert len(rules()) == len(ALERTS) > 20
    for expression in [*rules(), *expressions()]:
        found = names(expression)
        assert found, expression
        assert found <= series_names() | OTHERS, expression
        matched = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
        grouped = re.findall(r"(?:by|on|ignoring)\s*\(([^)]*)\)", expression)
        used = {*matched, *(label.strip() for group in grouped for label in group.split(",") if label.strip())}
        assert used <= LABELS, expression


def test_every_metric_of_the_contract_is_watched_somewhere() -> None:
    """What nobody looks at need not be exported: each metric has an alert or a panel."""
    read = {name for expression in [*rules(), *expressions()] for name in names(expression)}
    for metric in declared():
        assert read & set(metric.series()), f"{metric.name} is on no panel and in no alert"


def test_each_alert_says_how_bad_it_is_and_where_help_stands() -> None:
    """Severity, a summary, and the address of its own paragraph."""
    for rule in RULES.read_text().split("      - alert: ")[1:]:
        name = rule.split("\n")[0]
        assert re.search(r"severity: (critical|warning|info)\b", rule), name
        assert re.search(r'summary: ".{20,}"', rule), name
        assert f"runbook_url: docs/OPERATIONS.md#{name.lower()}\n" in rule
        assert name.startswith("LaunchMonitor")
    assert len(set(ALERTS)) == len(ALERTS)


def test_each_alert_has_a_paragraph_and_each_paragraph_an_alert() -> None:
    """In the order of the rules, and not empty."""
    paragraphs = re.findall(r"^### (LaunchMonitor\w+)\n\n(.+)", RUNBOOK.read_text(), re.MULTILINE)
    assert [name for name, _ in paragraphs] == ALERTS
    assert all(len(text) > 60 for _, text in paragraphs)


def test_the_runbook_names_what_exists() -> None:
    """Metrics, settings, commands, files and paragraphs."""
    text = RUNBOOK.read_text()
    bare = {name.removeprefix(PREFIX) for name in series_names()} | {metric.name for metric in declared()}
    settings = {key.name for key in keys()}
    quoted = set(re.findall(r"`([^`\n]+)`", text))
    spoken = {word.split("{")[0] for word in quoted}
    looks_like_metric = {
        word for word in spoken if re.fullmatch(r"[a-z]+(_[a-z]+)+(_total|_seconds|_bytes|_seq)", word)
    }
    assert looks_like_metric
    assert looks_like_metric <= bare
    assert set(re.findall(rf"{PREFIX}\w+", text)) <= series_names()
    sections = {key.section for key in keys() if key.section}
    named = {word.split(" ")[0] for word in spoken if word.split(".")[0] in sections and "." in word}
    assert named
    assert named <= settings
    assert {word.split()[1] for word in quoted if word.startswith("launch-monitor ")} <= set(COMMANDS)
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()) for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert target[1:] in anchors if target.startswith("#") else (RUNBOOK.parent / target).exists(), target


def test_each_alert_is_tested_both_ways() -> None:
    """Once with what fires it, once with what comes near."""
    told = re.findall(r"^  - name: (\w+) (fires|is quiet)$", RULES_TEST.read_text(), re.MULTILINE)
    assert told == [(name, word) for name in ALERTS for word in ("fires", "is quiet")]


@pytest.mark.ci
@pytest.mark.parametrize("command", [("check", "rules", RULES.name), ("test", "rules", RULES_TEST.name)])
def test_prometheus_takes_the_rules_and_they_fire(command: tuple[str, ...]) -> None:
    """`promtool` reads every rule, and each fires on what it should and on nothing else."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    ran = subprocess.run(["promtool", *command], cwd=RULES.parent, check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_board_is_one_that_grafana_can_import() -> None:
    """Panels with units in rows, a source that is chosen at import, no address of anybody."""
    model = board()
    assert (model["id"], model["uid"], model["title"]) == (None, "launch-monitor", "launch-monitor")
    assert model["schemaVersion"] >= 36
    rows = [panel["title"] for panel in model["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Completeness", "Feeds", "Pipeline", "Database", "RPC", "Programs"]
    assert [item["type"] for item in model["templating"]["list"]] == ["datasource", "query"]
    assert len({panel["id"] for panel in model["panels"]}) == len(model["panels"])
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEF")[: len(panel["targets"])]
        assert all('instance=~"$instance"' in target["expr"] for target in panel["targets"]), panel["title"]
    assert not re.search(r"https?://|localhost|127\.0\.0\.1|:9\d{3}", BOARD.read_text())


def test_panels_of_the_board_lie_side_by_side() -> None:
    """None reaches over the edge or into another."""
    taken: set[tuple[int, int]] = set()
    for panel in board()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.ci
def test_every_expression_can_be_parsed(tmp_path: Path) -> None:
    """Prometheus' own parser takes what the board asks, with the variables filled in."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    lines = ["groups:", "  - name: board", "    rules:"]
    for number, expression in enumerate(expressions()):
        text = expression.replace("$__rate_interval", "5m").replace("$instance", ".+")
        lines += [f"      - record: board:expression:{number}", f"        expr: {json.dumps(text)}"]
    file = tmp_path / "board.yml"
    file.write_text("\n".join(lines) + "\n")
    ran = subprocess.run(["promtool", "check", "rules", str(file)], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
