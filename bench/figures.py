"""What the parts measure, as one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One measured number.

    `other` is what it is compared with, in the same unit, and `against` says what that is. `goal` is the bound that it
    should keep, of the ratio where `of_ratio` is set, of the value itself otherwise.
    """

    part: str
    name: str
    value: float
    unit: str
    against: str = ""
    other: float | None = None
    goal: tuple[Literal["at most", "at least"], float] | None = None
    of_ratio: bool = False

    @property
    def ratio(self) -> float | None:
        """The value, counted in what it is compared with."""
        return self.value / self.other if self.other else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is kept; None without one."""
        if self.goal is None:
            return None
        judged = self.ratio if self.of_ratio else self.value
        if judged is None:
            return False
        word, bound = self.goal
        return judged <= bound if word == "at most" else judged >= bound

    def as_json(self) -> dict[str, Any]:
        """The fields that are set, the ratio and whether the goal is met."""
        whole = asdict(self) | {"ratio": self.ratio, "met": self.met}
        unset = {name for name, value in whole.items() if value is None or value == ""}
        if not self.of_ratio:
            unset.add("of_ratio")
        return {name: _rounded(value) for name, value in whole.items() if name not in unset}


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


_HEADS = ("part", "figure", "value", "compared with", "ratio", "goal", "met")


def table(figures: Iterable[Figure]) -> str:
    """Give them as a table in Markdown whose columns stand under each other in a terminal, too."""
    rows = [_HEADS, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADS))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def _cells(figure: Figure) -> tuple[str, ...]:
    other = "" if figure.other is None else f"{figure.against}: {number(figure.other)}"
    goal = ""
    if figure.goal is not None:
        word, bound = figure.goal
        goal = f"{'≤' if word == 'at most' else '≥'} {number(bound)}{' ×' if figure.of_ratio else ''}"
    return (
        figure.part,
        figure.name,
        f"{number(figure.value)} {figure.unit}".strip(),
        other,
        "" if figure.ratio is None else f"{figure.ratio:.2f}",
        goal,
        {True: "yes", False: "**no**", None: ""}[figure.met],
    )


def line(figure: Figure) -> str:
    """Give one figure as a line of text."""
    _, name, value, other, ratio, goal, met = _cells(figure)
    beside = f"   {other} (ratio {ratio})" if other else ""
    judged = f"   goal {goal}: {met.strip('*')}" if goal else ""
    return f"{name}: {value}{beside}{judged}"


def number(value: float) -> str:
    """Three digits that count, thousands with commas, never an exponent."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:.{digits}f}".rstrip("0").rstrip(".")
