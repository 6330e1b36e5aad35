"""How much of the code the tests reach, part by part, from coverage's data: one table, and failure below a bound.

`python tests/coverage_gates.py PART…` looks at those parts alone, which is right when the others were not run.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import coverage


@dataclass(frozen=True)
class Part:
    """Some of the code by the beginnings of its paths, and how much of its lines and branches has to be reached (%)."""

    name: str
    bound: float
    paths: tuple[str, ...]


def _core(service: str) -> tuple[str, ...]:
    return tuple(f"services/{service}/src/{service}/{layer}/" for layer in ("domain", "application"))


PARTS = (
    Part("recurrence-core", 95, _core("recurrence")),
    Part("reminders-core", 95, _core("reminders")),
    Part("task-api", 90, ("services/task-api/src/",)),
    Part("whole", 80, ("packages/", "services/", "cli/")),
)


def share(files: dict[str, Any], part: Part) -> tuple[int, int]:
    """Give how many of the part's lines and branches were reached, of how many. Raises KeyError without any."""
    chosen = [one["summary"] for path, one in files.items() if path.startswith(part.paths)]
    if not chosen:
        raise KeyError(f"nothing of {part.name} was measured")
    reached = sum(one["covered_lines"] + one["covered_branches"] for one in chosen)
    return reached, sum(one["num_statements"] + one["num_branches"] for one in chosen)


def table(files: dict[str, Any], parts: tuple[Part, ...]) -> tuple[str, bool]:
    """Give the table, and whether every part is at its bound."""
    lines, all_well = [f"{'coverage':<18}{'reached':>9}{'of':>8}{'share':>9}{'bound':>8}"], True
    for part in parts:
        reached, of = share(files, part)
        percent = 100 * reached / of
        is_well = percent >= part.bound
        all_well &= is_well
        verdict = "" if is_well else "  too little"
        lines.append(f"{part.name:<18}{reached:>9}{of:>8}{percent:>8.1f}%{part.bound:>7.0f}%{verdict}")
    return "\n".join(lines), all_well


def main(names: list[str]) -> int:
    """Print the table of what was measured."""
    parts = tuple(part for part in PARTS if not names or part.name in names)
    measured = coverage.Coverage()
    measured.load()
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        measured.json_report(outfile=report.name)
        files = json.loads(Path(report.name).read_text())["files"]
    text, all_well = table(files, parts)
    print(text)  # noqa: T201
    return 0 if all_well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
