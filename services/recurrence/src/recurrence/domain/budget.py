"""How much work one question to the rule engine may cost."""

from __future__ import annotations

UNITS = 40_000
"""A unit is about the work of looking at one day: what is chosen of some 90 years when it is every day, of thousands of
years when it is a day a month. 5,000 occurrences use it up. One question costs well under 100 ms."""
UNITS_OF_A_SLOT = 2
"""A slot is made: a date becomes a wall-clock time."""
UNITS_OF_AN_INSTANT = 6
"""A slot is placed in its zone: what that makes of it, and whether the clocks leave it out."""


class ExpansionBoundError(Exception):
    """The question cost more than its budget: what follows is not known. That nothing does is another answer."""


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
