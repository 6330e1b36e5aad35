"""Rules and dashboards ask for metrics that somebody exports; each rule rings when it should, and names a runbook."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.observability.promtool import promtool

from stack.command import run

ROOT = Path(__file__).parents[2]
HERE = ROOT / "observability"
RULES = HERE / "prometheus/alerts.yaml"
DASHBOARDS = HERE / "grafana/dashboards"
_NOT_METRICS = {"absent", "and", "avg", "by", "changes", "histogram_quantile", "increase", "max", "min", "on", "or",
                "rate", "sum", "time", "unless", "without"}  # fmt: skip
_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


def _rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _metrics(query: str) -> set[str]:
    """The names of metrics in a query: words that are neither functions nor labels nor values nor ranges."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", query)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", " ", bare)
    words = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", bare)) - _NOT_METRICS
    return {_HISTOGRAM.sub("", word) for word in words}


def _exported() -> set[str]:
    # tests/architecture holds this page to what the services and the exporter really measure.
    ours = re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    others = yaml.safe_load((HERE / "exporters.yaml").read_text())
    return {*ours, *(name for names in others.values() for name in names)}


def _panels() -> Iterator[tuple[str, str]]:
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def test_the_reader_of_queries_sees_what_is_a_metric() -> None:
    query = 'sum by (job) (rate(a_total{status=~"5.."}[5m])) / on (job) b > 0.5 or absent(up{job="c"})'
    assert _metrics(query) == {"a_total", "b", "up"}
    assert _metrics("histogram_quantile(0.95, sum by (le) (rate(d_seconds_bucket[$__rate_interval])))") == {
        "d_seconds"
    }


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_is_exported(rule: dict[str, Any]) -> None:
    assert _metrics(rule["expr"])
    assert _metrics(rule["expr"]) <= _exported()


def test_every_panel_asks_for_what_is_exported() -> None:
    unknown = {where: missing for where, query in _panels() if (missing := _metrics(query) - _exported())}
    assert unknown == {}


def test_no_exporter_is_listed_for_what_nobody_uses() -> None:
    used = set().union(
        *(_metrics(query) for _, query in _panels()), *(_metrics(rule["expr"]) for rule in _rules())
    )
    listed = yaml.safe_load((HERE / "exporters.yaml").read_text())
    assert {name for names in listed.values() for name in names} - used <= {
        "redis_up",
        "redis_connected_clients",
    }


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule["alert"])
def test_a_rule_names_a_runbook_that_is_there(rule: dict[str, Any]) -> None:
    path, _, section = rule["annotations"]["runbook"].partition("#")
    text = (ROOT / path).read_text()
    sections = {re.sub(r"[^a-z0-9 -]", "", head.lower()).strip().replace(" ", "-")
                for head in re.findall(r"^## (.+)$", text, re.MULTILINE)}  # fmt: skip
    assert not section or section in sections, f"{path} has {sorted(sections)}"
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_rule_has_a_case() -> None:
    cases = yaml.safe_load((HERE / "prometheus/alerts_test.yaml").read_text())["tests"]
    for case in cases:
        silent, ringing = case["alert_rule_test"]
        assert (silent["exp_alerts"], len(ringing["exp_alerts"])) == ([], 1), case["name"]
        assert silent["alertname"] == ringing["alertname"] == case["name"]
    assert sorted(case["name"] for case in cases) == sorted(rule["alert"] for rule in _rules())


def test_every_rule_is_silent_and_rings_as_its_case_says() -> None:
    run([str(promtool()), "test", "rules", "alerts_test.yaml"], doing="promtool", folder=RULES.parent)


def test_prometheus_can_read_its_configuration(tmp_path: Path) -> None:
    text = (HERE / "prometheus/prometheus.yml").read_text().replace("/etc/prometheus/alerts.yaml", str(RULES))
    (tmp_path / "prometheus.yml").write_text(text)
    run([str(promtool()), "check", "config", "prometheus.yml"], doing="promtool", folder=tmp_path)


def test_the_dashboards_are_as_they_are_described(tmp_path: Path) -> None:
    described = runpy.run_path(str(HERE / "grafana/write_dashboards.py"))
    names = set(described["DASHBOARDS"])
    assert {path.stem for path in DASHBOARDS.glob("*.json")} == names
    for name in names:
        assert json.loads((DASHBOARDS / f"{name}.json").read_text()) == described["dashboard"](name), (
            "run: python observability/grafana/write_dashboards.py"
        )


def test_every_matcher_of_alertmanager_names_rules_that_are_there() -> None:
    configuration = yaml.safe_load((HERE / "alertmanager/alertmanager.yml").read_text())
    named = {
        name
        for rule in configuration["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"])
        for name in matcher.partition('"')[2].rstrip('"').split("|")
    }
    assert named <= {rule["alert"] for rule in _rules()}
    receivers = {receiver["name"] for receiver in configuration["receivers"]}
    routes = configuration["route"]
    assert {routes["receiver"], *(route["receiver"] for route in routes["routes"])} == receivers
