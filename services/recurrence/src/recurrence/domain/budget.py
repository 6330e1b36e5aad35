"""How much work one question to the rule engine may cost."""

from __future__ import annotations

UNITS = 40_000
"""Days looked at and slots made for one question: some 110 years that have no slot, 40 of a daily rule, 2 of an
hourly one. It costs well under 100 ms."""
UNITS_OF_A_SLOT = 2
"""A slot is made and looked at: about twice the work of a day that is only counted."""


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
