"""What a person types, as a text-search query: words that must all be there, the last one as a beginning."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import ColumnElement, func, literal, text
from sqlalchemy.dialects.postgresql import TSQUERY

from task_api.domain.search import WORD, has_words

_OR = re.compile(r"\bor\s+$", re.IGNORECASE)
_CONFIGURATION = text("'simple'::regconfig")


def query_of(typed: str) -> ColumnElement[Any]:
    """Give the tsquery: quotes, `or` and a leading minus mean what they do in web search; accents are folded."""
    head, last = _parted(typed)
    if head is None:
        return func.websearch_to_tsquery(_CONFIGURATION, func.folded(literal(typed)), type_=TSQUERY)
    # quote_literal keeps whatever the folding made of the word one lexeme of the query's grammar.
    beginning = func.to_tsquery(
        _CONFIGURATION, func.quote_literal(func.folded(literal(last))).op("||")(literal(":*")), type_=TSQUERY
    )
    if not has_words(head):
        return beginning
    words = func.websearch_to_tsquery(_CONFIGURATION, func.folded(literal(head)), type_=TSQUERY)
    return words.op("&&")(beginning)


def _parted(typed: str) -> tuple[str | None, str]:
    """What comes before the last word, None when that word is quoted, refused or an alternative, and the word."""
    *_, last = WORD.finditer(typed)
    before = typed[: last.start()]
    plain = before.endswith("-") or before.count('"') % 2 or _OR.search(before)
    return None if plain else before, last.group()
