"""What counts as a word to look for."""

from __future__ import annotations

import re

WORD = re.compile(r"\w+")


def has_words(typed: str) -> bool:
    """Whether there is anything to look for."""
    return WORD.search(typed) is not None
