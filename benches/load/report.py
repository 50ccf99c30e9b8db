"""Results as data, as text for the terminal and as Markdown and JSON for benches/results/."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "results"


@dataclass(frozen=True)
class Verdict:
    """One target of the project beside what was measured.

    ``met`` is None when it could not be measured. ``spread`` is the middle half of the repetitions, where there are
    enough of them; a limit inside it is too close to call from this run alone, and ``word`` says so.
    """

    target: str
    limit: float
    measured: float | None
    unit: str = ""
    below: bool = False
    """Whether the limit itself already misses."""
    least: bool = False
    """Whether the limit is the least that will do, instead of the most."""
    spread: tuple[float, float] | None = None
    remark: str = ""
    noisy: bool = False
    """Whether others took so much of the machine that the verdict should be asked for again."""

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        if self.least:
            return self.measured >= self.limit
        return self.measured < self.limit if self.below else self.measured <= self.limit

    @property
    def word(self) -> str:
        if self.met is None:
            return "not measured"
        close = self.spread is not None and self.spread[0] <= self.limit <= self.spread[1]
        doubts = ", ".join(word for word, holds in (("close", close), ("noisy", self.noisy)) if holds)
        return ("PASS" if self.met else "miss") + (f" ({doubts})" if doubts else "")

    def cells(self) -> list[str]:
        measured = "–" if self.measured is None else f"{self.measured:.2f}{self.unit}"
        if self.spread is not None:
            measured += f" ({self.spread[0]:.2f} to {self.spread[1]:.2f})"
        sign = "≥" if self.least else "<" if self.below else "≤"
        return [self.target, f"{sign} {self.limit:.2f}{self.unit}", measured, self.word, self.remark]


@dataclass
class Section:
    """One table, the targets that hang from it, and the samples behind it for the JSON file."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    """Servers that were disqualified or did not start."""


VERDICT_HEADER = ["target", "limit", "measured", "verdict", "remark"]


def noise_note(share: float, limit: float) -> str:
    """The note that every timed section carries: how much of the two cores went to somebody else."""
    return f"{'NOISY: ' if share > limit else ''}others took {share:.0%} of the two cores meanwhile"


def _widths(table: list[list[str]]) -> list[int]:
    return [max(len(row[column]) for row in table) for column in range(len(table[0]))]


def _is_number(cell: str) -> bool:
    return cell[:1].isdigit() or cell in ("–", "")


def _text_table(header: list[str], rows: list[list[str]]) -> str:
    widths = _widths([header, *rows])
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(header))]

    def line(row: list[str]) -> str:
        cells = zip(row, widths, numeric, strict=True)
        return "  ".join(c.rjust(width) if right else c.ljust(width) for c, width, right in cells).rstrip()

    return "\n".join([line(header), "  ".join("-" * width for width in widths), *map(line, rows)])


def _markdown_table(header: list[str], rows: list[list[str]]) -> str:
    def line(row: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"

    return "\n".join([line(header), "|" + "---|" * len(header), *map(line, rows)])


def as_text(section: Section) -> str:
    parts = [f"\n{section.title}\n", _text_table(section.header, section.rows)]
    parts += [f"  {note}" for note in section.notes]
    if section.verdicts:
        parts += ["", _text_table(VERDICT_HEADER, [verdict.cells() for verdict in section.verdicts])]
    return "\n".join(parts)


def as_markdown(sections: list[Section], machine: dict[str, str], arguments: str) -> str:
    parts = ["# Load benches", "", f"`python -m benches.load {arguments}`".replace(" `", "`"), ""]
    parts.append(_markdown_table(["", ""], [[key, value] for key, value in machine.items()]))
    for section in sections:
        parts += ["", f"## {section.title}", "", _markdown_table(section.header, section.rows)]
        if section.notes:
            parts += ["", *(f"- {note}" for note in section.notes)]
        if section.verdicts:
            rows = [verdict.cells() for verdict in section.verdicts]
            parts += ["", _markdown_table(VERDICT_HEADER, rows)]
    return "\n".join(parts) + "\n"


def write(sections: list[Section], machine: dict[str, str], arguments: str, name: str, folder: Path = RESULTS) -> Path:
    """Write ``<date>-<revision>[-name].md`` and ``.json``; returns the Markdown file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{machine['date']}-{machine['revision']}" + (f"-{name}" if name else "")
    markdown = folder / f"{stem}.md"
    markdown.write_text(as_markdown(sections, machine, arguments), encoding="utf-8")
    data = {
        "arguments": arguments,
        "machine": machine,
        "sections": [
            {**asdict(section), "verdicts": [{**asdict(v), "met": v.met} for v in section.verdicts]}
            for section in sections
        ],
    }
    markdown.with_suffix(".json").write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return markdown
