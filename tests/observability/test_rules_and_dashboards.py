"""Rules and dashboards ask for metrics that somebody exports; each rule rings when it should, and names a runbook."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.observability.promtool import promtool
from tests.observability.queries import DASHBOARDS, ROOT, RULES, Asked, asked, metrics, panels, rules

from stack.command import run

HERE = ROOT / "observability"


def _exported() -> set[str]:
    # tests/architecture holds this page to what the services and the exporter really measure.
    ours = re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    others = yaml.safe_load((HERE / "exporters.yaml").read_text())
    return {*ours, *(name for names in others.values() for name in names)}


def test_the_reader_of_queries_sees_what_is_a_metric() -> None:
    query = 'sum by (job) (rate(a_total{status=~"5.."}[5m])) / on (job) b > 0.5 or absent(up{job="c"})'
    assert metrics(query) == {"a_total", "b", "up"}
    assert metrics("histogram_quantile(0.95, sum by (le) (rate(d_seconds_bucket[$__rate_interval])))") == {
        "d_seconds"
    }


def test_the_reader_of_queries_sees_labels() -> None:
    assert asked('sum by (job, le) (rate(a_seconds_bucket{route!="/x", job="c"}[5m])) > on (job) b') == {
        Asked("a_seconds", frozenset({"job", "le", "route"}), "c"),
        Asked("b", frozenset({"job", "le"}), None),
    }


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_what_is_exported(rule: dict[str, Any]) -> None:
    assert metrics(rule["expr"])
    assert metrics(rule["expr"]) <= _exported()


def test_every_panel_asks_for_what_is_exported() -> None:
    unknown = {where: missing for where, query in panels() if (missing := metrics(query) - _exported())}
    assert unknown == {}


def test_no_query_goes_by_a_label_that_a_metric_of_ours_lacks() -> None:
    """tests/e2e holds the page, and these, to what a running system serves."""
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    ours = {name: {*re.findall(r"\w+", labels), "job", "instance", "le"} for name, labels in rows}
    queries = [*panels(), *((rule["alert"], rule["expr"]) for rule in rules())]
    unknown = {
        (where, one.metric): missing
        for where, query in queries
        for one in asked(query)
        if one.metric in ours and (missing := one.labels - ours[one.metric])
    }
    assert unknown == {}


def test_no_exporter_is_listed_for_what_nobody_uses() -> None:
    used = set().union(
        *(metrics(query) for _, query in panels()), *(metrics(rule["expr"]) for rule in rules())
    )
    listed = yaml.safe_load((HERE / "exporters.yaml").read_text())
    assert {name for names in listed.values() for name in names} - used <= {
        "redis_up",
        "redis_connected_clients",
    }


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
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
    assert sorted(case["name"] for case in cases) == sorted(rule["alert"] for rule in rules())


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
    assert named <= {rule["alert"] for rule in rules()}
    receivers = {receiver["name"] for receiver in configuration["receivers"]}
    routes = configuration["route"]
    assert {routes["receiver"], *(route["receiver"] for route in routes["routes"])} == receivers
