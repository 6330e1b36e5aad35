"""The table and the JSON: what was injected, how soon it was over, what it cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from tests.chaos.check import Finding, Harm
from tests.chaos.facts import Facts
from tests.chaos.faults import KINDS, Fault
from tests.chaos.model import Model

LIMIT_SECONDS = 15.0
"""The longest that a recovery may take."""
LATE_SECONDS = 2 * LIMIT_SECONDS
"""The latest that any reminder may come after the fault that it fell into: it stands behind what piled up meanwhile."""


@dataclass(frozen=True)
class Injected:
    """One fault as it went. `began`, `ready`: instants; `recovery`: seconds from ready, None if it never came."""

    fault: Fault
    began: datetime
    ready: datetime
    recovery: float | None


@dataclass(frozen=True)
class Line:
    """One kind of fault. Times are in seconds; `copies` are mails that came again under the same Message-ID."""

    kind: str
    injected: int
    median: float | None
    longest: float | None
    never: int
    lost: int
    doubled: int


@dataclass(frozen=True)
class Outcome:
    """A run and its verdict."""

    seed: int
    minutes: float
    rate: float
    model: Model
    facts: Facts
    injected: Sequence[Injected]
    findings: Sequence[Finding]
    latest: float
    """Seconds by which the latest reminder came into the inbox after its time."""
    latest_without_faults: float
    """The same, without the time that faults took."""
    done: Mapping[str, int]
    left_out: int

    @property
    def longest(self) -> float | None:
        """The longest recovery, None if one never came, or there was none."""
        times = [one.recovery for one in self.injected]
        return max((time for time in times if time is not None), default=None) if None not in times else None

    @property
    def holds(self) -> bool:
        """Whether every promise was kept, in time."""
        soon = self.longest is not None and self.longest <= LIMIT_SECONDS
        return not self.findings and soon and self.latest_without_faults <= LATE_SECONDS


def lines(injected: Iterable[Injected], findings: Iterable[Finding]) -> list[Line]:
    """One line a kind. A finding counts against the fault that was the last to begin before it."""
    order = sorted(injected, key=lambda one: one.began)
    harmed: Counter[tuple[str, Harm]] = Counter()
    for finding in findings:
        before = [one for one in order if finding.at is not None and one.began <= finding.at]
        harmed[str(before[-1].fault.kind) if before else "(no one fault)", finding.harm] += 1
    result = []
    for kind in [*map(str, KINDS), "(no one fault)"]:
        mine = [one for one in order if str(one.fault.kind) == kind]
        times = [one.recovery for one in mine if one.recovery is not None]
        lost, doubled = harmed[kind, Harm.LOST], harmed[kind, Harm.DOUBLED]
        if mine or lost or doubled:
            result.append(
                Line(
                    kind,
                    len(mine),
                    median(times) if times else None,
                    max(times, default=None),
                    len(mine) - len(times),
                    lost,
                    doubled,
                )
            )
    return result


def table(outcome: Outcome) -> str:
    """The whole outcome in words and columns."""
    rows = [
        f"{line.kind:<24}{line.injected:>9}{_seconds(line.median):>10}{_seconds(line.longest):>9}"
        f"{line.never:>7}{line.lost:>6}{line.doubled:>9}"
        for line in lines(outcome.injected, outcome.findings)
    ]
    harms = Counter(finding.harm for finding in outcome.findings)
    model, facts = outcome.model, outcome.facts
    copies = sum(count - 1 for count in facts.mails.values())
    return "\n".join(
        [
            "",
            f"{'fault':<24}{'injected':>9}{'recovery':>10}{'longest':>9}{'never':>7}{'lost':>6}{'doubled':>9}",
            *rows,
            f"{'in all':<24}{len(outcome.injected):>9}{'':>10}{_seconds(outcome.longest):>9}{'':>7}"
            f"{harms[Harm.LOST]:>6}{harms[Harm.DOUBLED]:>9}",
            "",
            f"seed {outcome.seed}, {outcome.minutes:g} minutes, {outcome.rate:g} writes a second: "
            f"{model.acknowledged} acknowledged, {model.repeated} requests sent again, "
            f"{outcome.left_out} turns left out",
            f"{len(facts.inbox)} reminders heard, the latest {outcome.latest:.1f} s after its time, "
            f"{outcome.latest_without_faults:.1f} s after the fault that it fell into was over; "
            f"{sum(facts.mails.values())} mails, {copies} of them copies",
            *(
                f"{finding.harm}: {finding.what} ({finding.subject})"
                + (f" at {finding.at:%H:%M:%S}" if finding.at else "")
                for finding in outcome.findings[:40]
            ),
            f"{len(outcome.findings)} broken promises" if outcome.findings else "every promise was kept",
        ]
    )


def as_json(outcome: Outcome) -> str:
    """The same for programs."""
    return json.dumps(_document(outcome), indent=2) + "\n"


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "seed": outcome.seed,
        "minutes": outcome.minutes,
        "rate": outcome.rate,
        "holds": outcome.holds,
        "acknowledged": outcome.model.acknowledged,
        "repeated": outcome.model.repeated,
        "left_out": outcome.left_out,
        "done": dict(outcome.done),
        "heard": len(outcome.facts.inbox),
        "latest_s": round(outcome.latest, 2),
        "latest_without_faults_s": round(outcome.latest_without_faults, 2),
        "mails": sum(outcome.facts.mails.values()),
        "mail_copies": sum(count - 1 for count in outcome.facts.mails.values()),
        "longest_recovery_s": outcome.longest,
        "kinds": [vars(line) for line in lines(outcome.injected, outcome.findings)],
        "faults": [
            {
                "number": one.fault.number,
                "kind": str(one.fault.kind),
                "process": one.fault.process,
                "began": one.began.isoformat(),
                "ready": one.ready.isoformat(),
                "recovery_s": None if one.recovery is None else round(one.recovery, 2),
            }
            for one in outcome.injected
        ],
        "findings": [
            {
                "harm": finding.harm,
                "what": finding.what,
                "subject": finding.subject,
                "at": finding.at.isoformat() if finding.at else None,
                "acknowledged": _story(outcome.model, finding.subject),
                "activity": list(outcome.facts.activity.get(finding.subject, ())),
            }
            for finding in outcome.findings
        ],
    }


def _story(model: Model, subject: str) -> list[str]:
    """What the person of a task did, as it was acknowledged."""
    task = model.tasks.get(subject)
    return [] if task is None else [f"{at.isoformat()} {act}" for at, act in task.story]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
