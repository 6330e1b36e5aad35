"""What a person types, as a text-search query: words that must all be there, the last one as a beginning."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Text, bindparam, func, literal, text
from sqlalchemy.dialects.postgresql import TSQUERY

from task_api.domain.search import WORD, has_words

_OR = re.compile(r"\bor\s+$", re.IGNORECASE)
_CONFIGURATION = text("'simple'::regconfig")
_WORDS = func.websearch_to_tsquery(_CONFIGURATION, func.folded(bindparam("words", type_=Text)), type_=TSQUERY)
# quote_literal keeps whatever the folding made of the word one lexeme of the query's grammar.
_BEGINNING = func.to_tsquery(
    _CONFIGURATION,
    func.quote_literal(func.folded(bindparam("beginning", type_=Text))).op("||")(literal(":*")),
    type_=TSQUERY,
)


def words_of(typed: str) -> dict[str, str]:
    """Give the `words` of what was typed, the `beginning` at its end, or both: the values of `query_of` their names."""
    *_, last = WORD.finditer(typed)
    before = typed[: last.start()]
    # The last word is as it stands when it is quoted, refused or an alternative.
    if before.endswith("-") or before.count('"') % 2 or _OR.search(before):
        return {"words": typed}
    beginning = {"beginning": last.group()}
    return {"words": before} | beginning if has_words(before) else beginning


def query_of(names: Collection[str]) -> ColumnElement[Any]:
    """Give the tsquery of the values with these names; quotes, `or` and a leading minus mean what they do in web
    search, accents are folded."""
    if "beginning" not in names:
        return _WORDS
    return _WORDS.op("&&")(_BEGINNING) if "words" in names else _BEGINNING
