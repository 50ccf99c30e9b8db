"""The tables of docs/configuration.md, made from the settings: ``python -m tests.settings_table`` writes them."""

import re
from pathlib import Path

from fastnet.server.config import GROUPS, LISTENER_SETTINGS, SETTINGS, Setting
from fastnet.server.values import FLAG

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"
START, END = "<!-- settings: made by tests/settings_table.py -->", "<!-- end of settings -->"


def tables() -> str:
    """A table for each group of settings."""
    parts = []
    for group, title in GROUPS.items():
        rows = [_row(setting) for setting in SETTINGS.values() if setting.group == group]
        head = ["| setting | default | what | each listener |", "|---|---|---|---|"]
        title = title[0].upper() + re.sub(r" \(.*", "", title)[1:]
        parts.append("\n".join([f"### {title}", "", *head, *rows]))
    return "\n\n".join(parts)


def _row(setting: Setting) -> str:
    choices = f" ({', '.join(f'`{one}`' for one in setting.kind.choices)})" if setting.kind.choices else ""
    listener = "yes" if setting.name in LISTENER_SETTINGS or setting.name == "bind" else ""
    return f"| `{setting.name}` | {_default(setting)} | {setting.help}{choices} | {listener} |".replace("  |", " |")


def _default(setting: Setting) -> str:
    if setting.kind is FLAG:
        return "on" if setting.default else "off"
    if setting.default in (None, "", ()):
        return "–"
    value = setting.kind.write(setting.default)
    return f"`{','.join(value) if isinstance(value, list) else value}`"


def page_with_tables(page: str) -> str:
    """The page with its tables made anew."""
    before, rest = page.split(START)
    after = rest.split(END)[1]
    return f"{before}{START}\n\n{tables()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
