"""Tells people every setting: as the README's table, and as a file to begin with."""

from __future__ import annotations

from monitor.config.settings import Config, keys, toml_value


def markdown_table() -> str:
    """Return every setting as a Markdown table."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for key in keys():
        default = toml_value(key.of(Config()))
        rows.append(f"| `{key.name}` | {f'`{default}`' if default else ''} | {key.description} |")
    return "\n".join(rows) + "\n"


def example_toml() -> str:
    """Return a file with every setting, commented out at its default."""
    lines: list[str] = []
    section = ""
    for key in keys():
        if key.section != section:
            section = key.section
            lines += ["", f"[{section}]"]
        default = toml_value(key.of(Config()))
        lines += [f"# {key.description}", f"#{key.key} = {default}" if default else f"#{key.key} ="]
    return "\n".join(lines) + "\n"
