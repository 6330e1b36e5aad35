"""What was looked at, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True)
class Finding:
    """Something wrong with `part`; `sentence` says what, and what to do."""

    part: str
    sentence: str


@dataclass(frozen=True)
class ClockReading:
    """What a part's clock showed against ours: it is `offset` ahead, give or take `error`."""

    part: str
    offset: timedelta
    error: timedelta


@dataclass
class Report:
    """`seen` is a line of each part that answered; `epoch` that of PostgreSQL, None when it was not had."""

    seen: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    clocks: list[ClockReading] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    epoch: int | None = None

    def find(self, part: str, sentence: str) -> None:
        """Note something wrong."""
        self.findings.append(Finding(part, sentence))
