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

ROOT = Path(__file__).parent.parent
_MARK = "<!-- {name}: written by python -m bench.pages -->"
_END = "<!-- end -->"
PAGES = (ROOT / "bench/README.md", ROOT / "docs/scale.md")


def newest() -> Path:
    """Give the newest result that is kept. Raises FileNotFoundError without any."""
    dated = sorted(RESULTS.glob("20[0-9][0-9]-*.json"))
    if not dated:
        raise FileNotFoundError("there is no kept result: run `make bench ARGS=--keep`")
    return dated[-1]


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
    return f"{_origin(result, file)}\n\n{table(_figure(one) for one in result['figures'])}"


def _origin(result: dict[str, Any], file: str) -> str:
    machine = result["machine"]
    size = " with small sizes (`--quick`)" if result["quick"] else ""
    busy = (
        " Others used the machine: read the ratios alone."
        if machine["load_before"] > machine["cores"]
        else ""
    )
    stolen = (
        f" Its host gave {machine['stolen']:.1%} of the processors to others." if "stolen" in machine else ""
    )
    missing = f" Not measured: {', '.join(result['not_measured'])}." if result["not_measured"] else ""
    return (
        f"`{file}`{size}: {machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"Python {machine['python']}, load {machine['load_before']} before.{busy}{stolen}{missing}"
    )


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
        for one in bounds(Costs.of(result["figures"]))
    ]
    return "\n".join(rows)


def _capacity(result: dict[str, Any]) -> str:
    costs = Costs.of(result["figures"])
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
