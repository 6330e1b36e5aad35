"""Prometheus and the autoscalers of a cluster find what the services, and the stores' exporters, tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from tests.deploy.rendering import MONITORING, ROOT, Manifest, named

from event_contracts.topics import SERVICES

Objects = Callable[[str], list[Manifest]]
HERE = ROOT / "observability"


def _values(name: str) -> Any:
    return yaml.safe_load((HERE / f"{name}-values.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("which", ["staging", "production", "managed"])
def test_the_rules_of_the_chart_are_those_of_prometheus(objects: Objects, which: str) -> None:
    """The chart reaches them by a link, which a tool that flattens it would leave behind with old ones."""
    rules = yaml.safe_load((HERE / "prometheus/alerts.yaml").read_text(encoding="utf-8"))
    assert named(objects(f"chart-{which}"), "PrometheusRule", "taskstream")["spec"] == rules
    assert rules["groups"]
    assert (ROOT / "helm/taskstream/files/alerts/operators.yaml").is_symlink()


@pytest.mark.parametrize("which", ["staging", "production"])
def test_one_monitor_finds_the_services_and_the_exporters(
    deployed: Callable[[str], list[Manifest]], which: str
) -> None:
    everything = deployed(which)
    monitor = named(everything, "ServiceMonitor", "taskstream")["spec"]
    (endpoint,) = monitor["endpoints"]
    found = {
        one["metadata"]["name"]
        for one in everything
        if one["kind"] == "Service"
        and monitor["selector"]["matchLabels"].items() <= one["metadata"].get("labels", {}).items()
        and endpoint["port"] in [port["name"] for port in one["spec"]["ports"]]
    }
    assert found == {*SERVICES, "exporter", "postgres-exporter", "redis-exporter"}
    for exporter, port in (
        ("postgres-exporter", "http"),
        ("redis-exporter", "http"),
        ("taskstream-cli", 9404),
    ):
        edge = named(everything, "NetworkPolicy", exporter)["spec"]["ingress"][0]
        assert edge["from"] == [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}}}
        ]
        assert [one["port"] for one in edge["ports"]] == [port]


def test_the_autoscalers_figure_is_made_of_what_the_services_count(objects: Objects) -> None:
    (rule,) = _values("prometheus-adapter")["rules"]["custom"]
    asked = {
        metric["pods"]["metric"]["name"]
        for one in objects("chart-production")
        if one["kind"] == "HorizontalPodAutoscaler"
        for metric in one["spec"]["metrics"]
        if metric["type"] == "Pods"
    }
    assert asked == {rule["name"]["as"]}
    series = rule["seriesQuery"].partition("{")[0]
    assert re.fullmatch(rule["name"]["matches"], series)
    # tests/architecture holds this page to what the services measure.
    assert f"| `{series}` |" in (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    assert rule["resources"]["overrides"].keys() == {"namespace", "pod"}
    assert rule["metricsQuery"] == "sum by (<<.GroupBy>>) (rate(<<.Series>>{<<.LabelMatchers>>}[2m]))"


def test_the_operator_looks_for_the_monitors_and_rules_of_every_release() -> None:
    prometheus = _values("kube-prometheus-stack")["prometheus"]["prometheusSpec"]
    for kind in ("serviceMonitor", "podMonitor", "rule"):
        assert prometheus[f"{kind}SelectorNilUsesHelmValues"] is False


def test_traces_and_logs_go_where_their_stores_answer(objects: Objects) -> None:
    stores = objects("observability")
    ports = {
        f"{one['metadata']['name']}.{one['metadata']['namespace']}:{port['port']}"
        for one in stores
        if one["kind"] == "Service"
        for port in one["spec"]["ports"]
    }
    configuration = named(objects("cluster-production"), "Configuration", "taskstream")
    assert configuration["spec"]["tracing"]["otel"]["endpointAddress"] in ports
    api = named(objects("chart-production"), "Deployment", "task-api")["spec"]["template"]["spec"]
    env = {one["name"]: one.get("value") for one in api["containers"][0]["env"]}
    assert env["OTEL_EXPORTER_OTLP_ENDPOINT"].removeprefix("http://") in ports
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for name in ("loki", "tempo"):
        (container,) = named(stores, "StatefulSet", name)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == compose[name]["image"]
        (mount,) = (one for one in container["volumeMounts"] if one["name"] == "data")
        assert f"{name}:{mount['mountPath']}" in compose[name]["volumes"]
    for exporter in ("postgres-exporter", "redis-exporter"):
        (container,) = named(objects("cluster-production"), "Deployment", exporter)["spec"]["template"][
            "spec"
        ]["containers"]
        assert container["image"] == compose[exporter]["image"]


def test_grafana_gets_every_dashboard_and_the_sources_of_its_links(objects: Objects) -> None:
    dashboards = named(objects("observability"), "ConfigMap", "taskstream-dashboards")
    assert dashboards["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert dashboards["data"] == {
        path.name: path.read_text(encoding="utf-8") for path in (HERE / "grafana/dashboards").glob("*.json")
    }
    provisioned = yaml.safe_load(
        (HERE / "grafana/provisioning/datasources/datasources.yaml").read_text(encoding="utf-8")
    )["datasources"]
    # The chart brings Prometheus itself, under the same uid.
    assert _values("kube-prometheus-stack")["grafana"]["additionalDataSources"] == [
        one for one in provisioned if one["uid"] != "prometheus"
    ]


def test_alertmanager_finds_its_secrets_where_the_operator_mounts_them() -> None:
    spec = _values("kube-prometheus-stack")["alertmanager"]["alertmanagerSpec"]
    (secret,) = spec["secrets"]
    routes = (HERE / "alertmanager/alertmanager.yml").read_text(encoding="utf-8")
    folders, keys = zip(*re.findall(r"_file: (\S+)/(\S+)", routes), strict=True)
    assert set(folders) == {f"/etc/alertmanager/secrets/{secret}"}
    page = (ROOT / "docs/observability.md").read_text(encoding="utf-8")
    assert set(re.findall(r"--from-literal=([\w-]+)=", page)) == set(keys)
    assert f"secret generic {spec['configSecret']} " in page


def test_fluent_bit_reads_the_namespace_as_its_runtime_names_the_files() -> None:
    config = _values("fluent-bit")["config"]
    (path,) = re.findall(r"^ +Path +(\S+)$", config["inputs"], re.MULTILINE)
    pattern = re.compile(re.escape(path).replace(r"\*", "[^/]*"))
    pod = "task-api-6c9f7d5b8-x2x7q"
    assert pattern.fullmatch(f"/var/log/containers/{pod}_todo_task-api-0123456789ab.log")
    assert not pattern.fullmatch(f"/var/log/containers/{pod}_kube-system_task-api-0123456789ab.log")
    assert re.search(r"^ +multiline.parser +cri$", config["inputs"], re.MULTILINE)
    (parser,) = re.findall(r"^ +Parser +(\S+)$", config["filters"], re.MULTILINE)
    assert re.search(rf"^ +Name +{parser}$", config["customParsers"], re.MULTILINE)
    # What a query or a link in Grafana asks for is what Docker's pipeline gives, too.
    docker = yaml.safe_load((HERE / "fluent-bit/containers.yaml").read_text(encoding="utf-8"))
    (loki,) = docker["pipeline"]["outputs"]
    given = {
        key.lower(): value for key, value in re.findall(r"^ +(\w+) +(\S.*)$", config["outputs"], re.MULTILINE)
    }
    for key in ("name", "host", "labels", "label_keys", "line_format"):
        assert given[key] == loki[key]
