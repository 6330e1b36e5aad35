"""Writes what was measured, and what follows from it, into the pages that tell of it: `python -m bench.pages`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.capacity import POPULATIONS, ROWS, Costs, bounds, need
from bench.figures import Figure, number, table
from bench.kept import RESULTS
from bench.parts import PARTS

ROOT = Path(__file__).parent.parent
_MARK = "<!-- {name}: written by python -m bench.pages -->"
_END = "<!-- end -->"
PAGES = (ROOT / "bench/README.md", ROOT / "docs/scale.md")


def newest() -> Path:
    """Give the newest result that is kept. Raises FileNotFoundError without any."""
    dated = sorted(RESULTS.glob("20[0-9][0-9]-*.json"), key=_measured_at)
    if not dated:
        raise FileNotFoundError("there is no kept result: run `make bench ARGS=--keep`")
    return dated[-1]


def _measured_at(result: Path) -> str:
    parts = json.loads(result.read_text(encoding="utf-8"))["parts"]
    return max(str(part["measured_at"]) for part in parts.values())


def figures_of(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the figures of all parts."""
    return [figure for part in result["parts"].values() for figure in part["figures"]]


def written(text: str, result: dict[str, Any], file: str) -> str:
    """Give the page's text with each of its parts written anew from the result."""
    parts = {
        "figures": lambda: _figures(result, file),
        "bounds": lambda: _bounds(result, file),
        "capacity": lambda: _capacity(result),
    }
    for name, part in parts.items():
        mark = _MARK.format(name=name)
        text = re.sub(
            f"{re.escape(mark)}.*?{re.escape(_END)}",
            lambda _, part=part, mark=mark: f"{mark}\n{part()}\n{_END}",  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    return text


def _figures(result: dict[str, Any], file: str) -> str:
    return "\n\n".join(
        (_origin(result, file), table(_figure(one) for one in figures_of(result)), _origins(result))
    )


def _origin(result: dict[str, Any], file: str) -> str:
    of = next(iter(result["parts"].values()))["machine"]
    missing = [name for name in PARTS if name not in result["parts"]]
    lacking = f" Not measured: {', '.join(missing)}." if missing else ""
    return (
        f"`{file}`: {of['processor']}, {of['cores']} cores, {of['memory_gib']} GiB, "
        f"Python {of['python']}.{lacking}"
    )


def _origins(result: dict[str, Any]) -> str:
    """When each part was measured and of what; a part that others disturbed says so."""
    rows = [
        "| part | measured | commit | load before | processor time that the host gave to others |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, part in result["parts"].items():
        load, cores = part["machine"]["load_before"], part["machine"]["cores"]
        busy = ": read the ratios alone" if load > cores else ""
        at = f"{part['measured_at'][:16].replace('T', ' ')}, {number(part['took_s'])} s"
        stolen = part["machine"]["stolen"]
        rows.append(f"| {name} | {at} | {part['commit']} | {load}{busy} | {stolen:.1%} |")
    return "\n".join(rows)


def _figure(told: dict[str, Any]) -> Figure:
    goal = told.get("goal")
    return Figure(
        told["part"],
        told["name"],
        told.get("value", 0.0),
        told["unit"],
        told.get("against", ""),
        told.get("other"),
        None if goal is None else (goal[0], goal[1]),
        of_ratio=told.get("of_ratio", False),
    )


def _bounds(result: dict[str, Any], file: str) -> str:
    rows = [_origin(result, file), "", "| people | what is used up | what moves it |", "| --- | --- | --- |"]
    rows += [
        f"| {number(float(f'{one.people:.2g}'))} | {one.what} | {one.moved_by} |"
        for one in bounds(Costs.of(figures_of(result)))
    ]
    return "\n".join(rows)


def _capacity(result: dict[str, Any]) -> str:
    costs = Costs.of(figures_of(result))
    needs = [need(people, costs) for people in POPULATIONS]
    heads: Sequence[str] = ["", *(f"{people:,}" for people in POPULATIONS)]
    rows = [_row(heads), _row(["---"] * len(heads))]
    rows += [_row([what, *(number(float(getattr(one, name))) for one in needs)]) for name, what in ROWS]
    return "\n".join(rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Write the pages from the newest kept result."""
    found = newest()
    result = json.loads(found.read_text(encoding="utf-8"))
    for page in PAGES:
        page.write_text(
            written(page.read_text(encoding="utf-8"), result, f"results/{found.name}"), encoding="utf-8"
        )
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
