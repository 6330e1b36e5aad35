"""The queries of rules and dashboards, and what they ask for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "observability/prometheus/alerts.yaml"
DASHBOARDS = ROOT / "observability/grafana/dashboards"
_NOT_METRICS = {"absent", "and", "avg", "by", "changes", "histogram_quantile", "increase", "max", "min", "on", "or",
                "rate", "sum", "time", "unless", "without"}  # fmt: skip
_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")
_GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")


@dataclass(frozen=True)
class Asked:
    """A metric of a query with the labels that it must have, those that the query groups by among them.

    `job` is the one that the query asks for it, None for any.
    """

    metric: str
    labels: frozenset[str]
    job: str | None


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> Iterator[tuple[str, str]]:
    """Each query of each panel, after where it stands."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def metrics(query: str) -> set[str]:
    """The names of metrics in a query: words that are neither functions nor labels nor values nor ranges."""
    return {one.metric for one in asked(query)}


def asked(query: str) -> set[Asked]:
    """Every metric of a query; what is grouped by counts for each of them."""
    grouped = frozenset(label for names in _GROUPED.findall(query) for label in re.findall(r"\w+", names))
    bare = _GROUPED.sub(" ", re.sub(r"\[[^\]]*\]", " ", query))
    found = set()
    for name, _, matchers in re.findall(r"(?<![\w.])([A-Za-z_]\w*)(\{([^}]*)\})?", _without_values(bare)):
        if name not in _NOT_METRICS:
            metric = _HISTOGRAM.sub("", name)
            found.add(Asked(metric, grouped | frozenset(re.findall(r"\w+", matchers)), None))
    jobs = dict(re.findall(r'(?<![\w.])([A-Za-z_]\w*)\{[^}]*\bjob="([\w-]+)"', bare))
    by_metric = {_HISTOGRAM.sub("", name): job for name, job in jobs.items()}
    return {Asked(one.metric, one.labels, by_metric.get(one.metric)) for one in found}


def _without_values(query: str) -> str:
    """`a{b="c",d=~"e"}` becomes `a{b,d}`."""
    return re.sub(r'\s*(?:=~|!~|!=|=)?\s*"[^"]*"', "", query)
