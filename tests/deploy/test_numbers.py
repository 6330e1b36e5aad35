"""The numbers that production promises, in what is rendered for it, and the steps that make its images.

Other tests hold these files to schemas, policies and the code; a number that is wrong but valid passes all of those.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from tests.deploy.rendering import ROOT, Manifest, Pod, named, pods

from event_contracts.topics import SERVICES
from task_api.settings import Settings

Objects = Callable[[str], list[Manifest]]
_DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def _deployment(chart: list[Manifest], service: str) -> tuple[Manifest, Pod]:
    deployment = named(chart, "Deployment", service)
    (pod,) = pods([deployment])
    return deployment, pod


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    ("probe", "path", "numbers"),
    [
        ("startup", "/health/live", {"periodSeconds": 2, "failureThreshold": 30}),
        ("liveness", "/health/live", {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3}),
        ("readiness", "/health/ready", {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 2}),
    ],
)
def test_probes(objects: Objects, service: str, probe: str, path: str, numbers: dict[str, int]) -> None:
    _, pod = _deployment(objects("chart-production"), service)
    asked = pod.spec["containers"][0][f"{probe}Probe"]
    assert asked == {"httpGet": {"path": path, "port": "http"}, **numbers}


@pytest.mark.parametrize("service", SERVICES)
def test_a_replica_s_share_of_a_node(objects: Objects, service: str) -> None:
    _, pod = _deployment(objects("chart-production"), service)
    assert pod.spec["containers"][0]["resources"] == {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"cpu": "500m", "memory": "512Mi"},
    }


@pytest.mark.parametrize("service", SERVICES)
def test_no_replica_goes_before_its_successor_is_ready(objects: Objects, service: str) -> None:
    chart = objects("chart-production")
    deployment, _ = _deployment(chart, service)
    assert deployment["spec"]["strategy"] == {
        "type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }  # fmt: skip
    budget = named(chart, "PodDisruptionBudget", service)["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"] == deployment["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("service", SERVICES)
def test_replicas_follow_the_processor_and_task_api_its_requests(objects: Objects, service: str) -> None:
    scaler = named(objects("chart-production"), "HorizontalPodAutoscaler", service)["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": service}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 20)
    processor, *others = scaler["metrics"]
    assert processor == {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu", "container": service, "target": {"type": "Utilization", "averageUtilization": 70},
        },
    }  # fmt: skip
    requests = {
        "type": "Pods",
        "pods": {
            "metric": {"name": "http_requests_per_second"},
            "target": {"type": "AverageValue", "averageValue": "100"},
        },
    }
    assert others == ([requests] if service == "task-api" else [])


@pytest.mark.parametrize(("which", "share"), [("production", 0.1), ("managed", 0.1), ("staging", 1.0)])
def test_the_share_of_traces_is_the_same_in_services_and_sidecars(
    objects: Objects, which: str, share: float
) -> None:
    for service in SERVICES:
        _, pod = _deployment(objects(f"chart-{which}"), service)
        (given,) = (one for one in pod.spec["containers"][0]["env"] if one["name"] == "TRACE_SAMPLE_RATIO")
        assert float(given["value"]) == share
    configuration = named(objects(f"cluster-{which}"), "Configuration", "taskstream")
    assert float(configuration["spec"]["tracing"]["samplingRate"]) == share


def test_every_disk_of_production_is_encrypted(objects: Objects) -> None:
    cluster = objects("cluster-production")
    claims = [claim for one in cluster for claim in one.get("spec", {}).get("volumeClaimTemplates", [])]
    claims += [one for one in cluster if one["kind"] == "PersistentVolumeClaim"]
    # Kafka's, PostgreSQL's, Redis', and that of the backups.
    assert len(claims) == 4
    assert {claim["spec"].get("storageClassName") for claim in claims} == {"encrypted"}


@pytest.mark.parametrize("which", ["staging", "production"])
def test_backups_reach_thirty_days_back(objects: Objects, which: str) -> None:
    given = [
        entry["value"]
        for pod in pods(objects(f"cluster-{which}"))
        for container in pod.containers
        for entry in container.get("env", [])
        if entry["name"] == "KEEP_DAYS"
    ]
    assert given == ["30"]


def test_logs_are_kept_thirty_days_and_what_went_wrong_and_the_audit_log_ninety() -> None:
    loki = yaml.safe_load((ROOT / "observability/loki/loki.yaml").read_text(encoding="utf-8"))
    limits = loki["limits_config"]
    assert loki["compactor"]["retention_enabled"] is True
    assert limits["retention_period"] == f"{30 * 24}h"
    (longer,) = limits["retention_stream"]
    assert longer["selector"] == '{level=~"warning|error|critical"}'
    assert longer["period"] == f"{90 * 24}h"
    assert Settings.model_fields["audit_retention_days"].default == 90


def test_the_doctor_waits_for_sidecars_and_ends_before_helm_does(objects: Objects) -> None:
    (pod,) = pods([named(objects("chart-production"), "Pod", "taskstream-doctor")])
    command = pod.spec["containers"][0]["command"]
    assert command[-3:-1] == ["doctor", "--wait"]
    deploy = (ROOT / ".github/workflows/deploy.yaml").read_text(encoding="utf-8")
    minutes = re.search(r"helm test taskstream .*--timeout (\d+)m", deploy)
    assert minutes is not None
    assert 60 <= int(command[-1]) <= int(minutes.group(1)) * 60 / 2


def _stages() -> dict[str, tuple[str, str]]:
    """What each stage of the Dockerfile stands on, and its lines."""
    found = re.findall(r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", _DOCKERFILE, re.MULTILINE | re.DOTALL)
    return {name: (start, text) for start, name, text in found}


def _chain(stage: str) -> str:
    """The lines of a stage and of all those below it."""
    stages, text = _stages(), ""
    while stage in stages:
        stage, lines = stages[stage]
        text = lines + text
    return text


def test_what_installs_is_not_what_runs() -> None:
    stages = _stages()
    below = {name: start for name, (start, _) in stages.items()}
    for name in ("dependencies", "code"):
        assert below[name] == "tools"
        assert f"COPY --from={name} " in stages["runtime"][1]
    assert below["runtime"] == below["tools"] == "${PYTHON_IMAGE}"
    assert "pip install" not in _chain("task-api")
    assert "apt-get" not in _chain("task-api")


def test_only_what_a_lock_names_by_its_hash_is_installed() -> None:
    installs = re.findall(r"pip install (?:[^\n]*\\\n)*[^\n]*", _DOCKERFILE)
    assert len(installs) == 3
    for install in installs:
        # What is ours comes from the checkout, and nothing besides: no index is asked.
        assert "--no-deps" in install
        assert "--require-hashes" in install or "--no-index" in install, install


@pytest.mark.parametrize("image", [*SERVICES, "cli"])
def test_an_image_runs_as_nobody_in_particular_and_says_what_it_is(image: str) -> None:
    text = _chain(image)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    (check,) = re.findall(r"^HEALTHCHECK ((?:[^\n]*\\\n)*[^\n]*)$", text, re.MULTILINE)
    labels = set(re.findall(r"org\.opencontainers\.image\.(\w+)=", text))
    assert labels == {
        "vendor",
        "licenses",
        "documentation",
        "version",
        "revision",
        "created",
        "title",
        "description",
    }
    if image == "cli":
        assert check == "NONE"
    else:
        assert "--interval=30s --timeout=5s --start-period=10s --retries=3" in check
        assert "/health/live" in check


def test_pods_run_as_the_user_of_the_image(objects: Objects) -> None:
    for pod in pods(objects("chart-production")):
        context: dict[str, Any] = pod.spec["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (
            True,
            10001,
            10001,
        ), pod.name
