"""How much work one question to the rule engine may cost."""

from __future__ import annotations

UNITS = 100_000
"""Days looked at and slots found for one question: some 270 years that have none, 90 years of a daily rule that is
counted from its start, 10 of an hourly one."""


class ExpansionBoundError(Exception):
    """The question cost more than its budget: the rule matches never, or next to never."""


class Budget:
    """Counts work instead of time, so that one question has one answer on every machine."""

    def __init__(self, units: int = UNITS) -> None:
        self._left = units
        self.exhausted = False

    def spend(self, units: int) -> None:
        """Take `units` from the budget. Raises ExpansionBoundError once it is used up."""
        self._left -= units
        if self._left < 0:
            self.exhausted = True
            raise ExpansionBoundError
