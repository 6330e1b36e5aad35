"""Writes down what the service answered in a test run, as the examples of its OpenAPI document."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson

_SECRET = re.compile(r"^(access_token|refresh_token|key|token|secret|url)$")
_LONGEST = 6_000
_PROBLEM = "application/problem+json"


@dataclass
class Recording:
    """Answers by operation and status; of several the one with the fewest nulls and empty lists."""

    paths: list[tuple[re.Pattern[str], str]]
    answers: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, Any] = field(default_factory=dict)
    codes: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, document: dict[str, Any]) -> Recording:
        """Record the operations of this document."""
        # Fixed paths before those with parameters: /tasks/search is no task.
        ordered = sorted(document["paths"], key=lambda path: path.count("{"))
        return cls([(re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$"), path) for path in ordered])

    async def note(self, answer: httpx.Response) -> None:
        """Keep an answer if it is the best so far."""
        request = answer.request
        path = next((path for form, path in self.paths if form.match(request.url.path)), None)
        kind = answer.headers.get("content-type", "")
        if path is None or "json" not in kind:
            return
        body = orjson.loads(await answer.aread())
        operation = f"{request.method} {path}"
        if kind.startswith(_PROBLEM):
            self.problems.setdefault(body["error_code"], body)
            self.codes.setdefault(operation, set()).add(body["error_code"])
        elif len(answer.content) <= _LONGEST:
            key = f"{operation} {answer.status_code}"
            if key not in self.answers or _emptiness(body) < _emptiness(self.answers[key]):
                self.answers[key] = _without_secrets(body)

    def write(self, target: Path) -> None:
        """Write what was seen. Codes that many operations answer with may come from any."""
        often = Counter(code for codes in self.codes.values() for code in codes)
        document = {
            "anywhere": [code for code, _ in often.most_common()],
            "answers": self.answers,
            "codes": {operation: sorted(codes) for operation, codes in self.codes.items()},
            "problems": self.problems,
        }
        options = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        target.write_bytes(orjson.dumps(document, option=options))


def _emptiness(body: Any) -> tuple[int, int]:
    text = orjson.dumps(body)
    return (text.count(b"null") + text.count(b"[]") + text.count(b"{}"), len(text))


def _without_secrets(body: Any) -> Any:
    if isinstance(body, dict):
        return {
            name: "…" if _SECRET.match(name) and isinstance(value, str) else _without_secrets(value)
            for name, value in body.items()
        }
    return [_without_secrets(one) for one in body] if isinstance(body, list) else body
