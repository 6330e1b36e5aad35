"""Every pod is small, unprivileged and watched; and each policy finds what breaks it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import create_async_engine
from tests.deploy.conftest import NAMES
from tests.deploy.policies import violations
from tests.deploy.rendering import (
    API_SERVER,
    CHART,
    NAMESPACE,
    OVERLAYS,
    Manifest,
    RefusedError,
    helm_template,
    named,
    pods,
)
from tests.deploy.toolbox import Toolbox

from event_contracts.topics import SERVICES
from service_kit.sidecar import Answer
from service_kit.testing.fakes import AnsweringSidecar, ManualClock
from service_kit.testing.tokens import SigningKey
from task_api.adapters.postgres import database
from task_api.app import build
from task_api.settings import Settings

Objects = Callable[[str], list[Manifest]]


@pytest.mark.parametrize("name", NAMES)
def test_everything_rendered_keeps_to_the_policies(objects: Objects, name: str) -> None:
    assert violations(objects(name)) == []


def _break(path: str, value: Any) -> Callable[[Manifest], None]:
    """Sets what is at `path` in a Deployment; None takes it away."""

    def apply(deployment: Manifest) -> None:
        target: Any = deployment
        *way, last = path.split(".")
        for step in way:
            target = target[int(step)] if step.isdecimal() else target[step]
        if value is None:
            del target[last]
        else:
            target[int(last) if last.isdecimal() else last] = value

    return apply


_CONTAINER = "spec.template.spec.containers.0"


@pytest.mark.parametrize(
    ("breaks", "sentence"),
    [
        (_break("spec.template.spec.automountServiceAccountToken", None), "mounts a token"),
        (_break("spec.template.spec.securityContext.runAsNonRoot", False), "may run as root"),
        (_break("spec.template.spec.securityContext.seccompProfile", None), "no seccomp profile"),
        (_break("spec.template.spec.hostNetwork", True), "sets hostNetwork"),
        (
            _break("spec.template.spec.volumes.0", {"name": "tmp", "hostPath": {"path": "/"}}),
            "folder of the node",
        ),
        (_break("spec.template.spec.volumes.0", {"name": "tmp", "emptyDir": {}}), "without a limit"),
        (_break(f"{_CONTAINER}.image", "taskstream/task-api:latest"), "no fixed tag"),
        (_break(f"{_CONTAINER}.image", "taskstream/task-api"), "no fixed tag"),
        (_break(f"{_CONTAINER}.securityContext.readOnlyRootFilesystem", False), "may write to its root"),
        (
            _break(f"{_CONTAINER}.securityContext.capabilities", {"drop": ["ALL"], "add": ["NET_ADMIN"]}),
            "capabilities",
        ),
        (_break(f"{_CONTAINER}.securityContext.allowPrivilegeEscalation", None), "may gain privileges"),
        (_break(f"{_CONTAINER}.resources.limits.memory", None), "no limits of memory"),
        (_break(f"{_CONTAINER}.readinessProbe", None), "no readinessProbe"),
        (_break(f"{_CONTAINER}.livenessProbe.httpGet.port", 9999), "a port 9999 that it does not have"),
        (_break(f"{_CONTAINER}.env.0", {"name": "DATABASE_URL", "value": "postgresql://"}), "in the open"),
        (_break(f"{_CONTAINER}.ports.0.name", "web"), "that no pod has"),
        (_break("spec.template.metadata.labels", {}), "selects no pod"),
    ],
)
def test_a_policy_finds_what_breaks_it(
    objects: Objects, breaks: Callable[[Manifest], None], sentence: str
) -> None:
    broken = copy.deepcopy(objects("chart-production"))
    breaks(named(broken, "Deployment", "task-api"))
    assert any(sentence in found for found in violations(broken))


def test_no_secret_is_rendered_in_the_open(objects: Objects) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    assert violations([secret]) == ["Secret x holds secrets"]


@pytest.mark.parametrize("which", OVERLAYS)
def test_every_object_is_in_the_one_namespace(objects: Objects, which: str) -> None:
    for one in objects(f"cluster-{which}"):
        assert one["metadata"].get("namespace", one["metadata"]["name"]) == NAMESPACE, one["metadata"]
    assert all(one["metadata"].get("namespace") is None for one in objects(f"chart-{which}"))


@pytest.mark.parametrize("which", OVERLAYS)
def test_each_object_has_one_home(objects: Objects, which: str) -> None:
    homes = [
        {(one["kind"], one["metadata"]["name"]) for one in objects(name)}
        for name in (f"cluster-{which}", f"chart-{which}")
    ]
    assert homes[0] & homes[1] == set()
    assert not any(one["apiVersion"].startswith("dapr.io") for one in objects(f"chart-{which}"))


@pytest.mark.parametrize("which", OVERLAYS)
def test_every_pod_has_a_policy_of_its_own(deployed: Objects, which: str) -> None:
    """The namespace denies everything: a pod that no other policy chooses reaches nobody."""
    everything = deployed(which)
    deny = named(everything, "NetworkPolicy", "deny-all")
    assert deny["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    selectors = [
        one["spec"]["podSelector"]["matchLabels"]
        for one in everything
        if one["kind"] == "NetworkPolicy" and one["spec"]["podSelector"]
    ]
    for pod in pods(everything):
        assert any(wanted.items() <= pod.labels.items() for wanted in selectors), pod.name


@pytest.mark.parametrize("which", ["minikube", "staging", "production"])
def test_an_edge_is_open_at_both_ends(deployed: Objects, which: str) -> None:
    """Who may leave for a store of ours must be let in there, and the reverse."""
    everything = deployed(which)
    for store, port in (("kafka", 9092), ("redis", 6379), ("postgres", 5432)):
        label = f"taskstream.io/uses-{store}"
        inbound = named(everything, "NetworkPolicy", store)["spec"]["ingress"][0]["from"]
        assert {"podSelector": {"matchLabels": {label: "true"}}} in inbound
        leaving = {
            pod.name
            for pod in pods(everything)
            for policy in everything
            if policy["kind"] == "NetworkPolicy"
            and policy["spec"]["podSelector"].get("matchLabels", {"": ""}).items() <= pod.labels.items()
            and any(
                {"podSelector": {"matchLabels": {"app.kubernetes.io/name": store}}} in edge["to"]
                and port in [one["port"] for one in edge["ports"]]
                for edge in policy["spec"].get("egress", [])
                if "ports" in edge
            )
        }
        let_in = {pod.name for pod in pods(everything) if pod.labels.get(label) == "true"}
        operators = {pod.name for pod in pods(everything) if pod.labels.get("taskstream.io/operator")}
        assert let_in - leaving == set()
        assert leaving - let_in - operators - {"StatefulSet kafka"} == set()


_PRIVATE = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"}


@pytest.mark.parametrize("which", OVERLAYS)
def test_the_way_to_the_api_server_is_a_way_to_nobody_else(objects: Objects, which: str) -> None:
    """Only `outside` leads to the Internet, and never into private networks."""
    for service in SERVICES:
        edges = named(objects(f"chart-{which}"), "NetworkPolicy", service)["spec"]["egress"]
        blocks = [
            (one["ipBlock"], [port["port"] for port in edge["ports"]])
            for edge in edges
            for one in edge["to"]
            if "ipBlock" in one
        ]
        everywhere = [block for block, _ in blocks if block["cidr"].endswith("/0")]
        assert len(everywhere) == (service == "notifier")
        assert all(set(block["except"]) >= _PRIVATE for block in everywhere)
        if which in ("staging", "production"):
            others = [(block, ports) for block, ports in blocks if block not in everywhere]
            assert others == [({"cidr": API_SERVER}, [443, 6443, 8443])]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((), "networkPolicy.kubernetesApi.cidrs is empty: give the addresses"),
        (("--set", "networkPolicy.kubernetesApi.cidrs={0.0.0.0/0}"), "networkPolicy.kubernetesApi.cidrs.0"),
        (("--set", "networkPolicy.kubernetesApi.cidrs={::/0}"), "networkPolicy.kubernetesApi.cidrs.0"),
    ],
)
def test_no_chart_without_the_addresses_of_the_api_server(
    box: Toolbox, given: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(RefusedError, match=re.escape(sentence)):
        helm_template(box, "-f", f"{CHART}/values-production.yaml", *given)


def test_the_authority_of_the_certificate_gets_its_answer(objects: Objects) -> None:
    """cert-manager's pod has a label and a port of its own, and no other policy that lets the ingress in."""
    policies = {
        which: [
            one["spec"]
            for one in objects(f"chart-{which}")
            if one["kind"] == "NetworkPolicy"
            and one["spec"]["podSelector"].get("matchLabels")
            == {"acme.cert-manager.io/http01-solver": "true"}
        ]
        for which in OVERLAYS
    }
    assert {which for which, found in policies.items() if found} == {"staging", "production", "managed"}
    (policy,) = policies["production"]
    assert policy["ingress"] == [
        {
            "from": [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}
            ],
            "ports": [{"port": 8089, "protocol": "TCP"}],
        }
    ]
    assert "egress" not in policy
    issuers = {one["metadata"]["name"]: one["spec"]["acme"] for one in objects("issuers")}
    for which in ("staging", "production"):
        ingress = named(objects(f"chart-{which}"), "Ingress", "taskstream")
        issuer = issuers[ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"]]
        # A NodePort, which is the default, is beyond the namespace's quota.
        assert issuer["solvers"] == [
            {
                "http01": {
                    "ingress": {
                        "ingressClassName": ingress["spec"]["ingressClassName"],
                        "serviceType": "ClusterIP",
                    }
                }
            }
        ]


def _quantity(text: str) -> float:
    number, unit = re.fullmatch(r"([0-9.]+)(m|Ki|Mi|Gi|)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "": 1}[unit]


@pytest.mark.parametrize("which", OVERLAYS)
def test_the_quota_holds_the_largest_rollout(deployed: Objects, which: str) -> None:
    everything = deployed(which)
    hard = named(everything, "ResourceQuota", NAMESPACE)["spec"]["hard"]
    largest = {
        one["spec"]["scaleTargetRef"]["name"]: one["spec"]["maxReplicas"] + 1
        for one in everything
        if one["kind"] == "HorizontalPodAutoscaler"
    }
    used = dict.fromkeys(("requests.cpu", "requests.memory", "limits.cpu", "limits.memory"), 0.0)
    count = 0
    for pod in pods(everything):
        times = largest.get(pod.owner["metadata"]["name"], pod.owner.get("spec", {}).get("replicas", 1))
        count += times
        for key in used:
            bound, _, what = key.partition(".")
            each = sum(_quantity(str(one["resources"][bound][what])) for one in pod.spec["containers"])
            sidecar = pod.annotations.get(f"dapr.io/sidecar-{what}-{bound.rstrip('s')}", "0")
            used[key] += times * (each + _quantity(sidecar))
    assert count <= int(hard["pods"])
    for key, amount in used.items():
        assert amount <= _quantity(hard[key]), key


BESIDES = 16
"""Connections for the migration, backups, the exporter, operators, and what PostgreSQL keeps for its superuser."""
BY_DEFAULT = 100
"""What PostgreSQL allows unless it is told otherwise."""


def _connections(env: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    """What one process of task-api opens at most, in all engines that it makes."""
    sizes: list[int] = []

    def counting(url: str, **options: Any) -> Any:
        sizes.append(options["pool_size"] + options["max_overflow"])
        return create_async_engine(url, **options)

    monkeypatch.setattr(database, "create_async_engine", counting)
    settings = Settings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1/none"),
        redis_url=SecretStr("redis://127.0.0.1:1"),
        app_api_token=SecretStr("app-token"),
        dapr_api_token=SecretStr("dapr-token"),
        jwt_private_keys=SecretStr(SigningKey().pem),
        encryption_keys=SecretStr("A" * 43 + "="),
        environment="test",
        database_pool_size=env["DATABASE_POOL_SIZE"],
        relay_lanes=env["RELAY_LANES"],
    )
    sidecar = AnsweringSidecar(settings, lambda _: Answer(503))
    build(settings, redis=Redis(), sidecar=sidecar, clock=ManualClock(datetime(2026, 1, 5, tzinfo=UTC)))
    assert len(sizes) == 2, "requests and relay; docs/schema.md counts them"
    return sum(sizes)


@pytest.mark.parametrize("which", ["minikube", "staging", "production"])
async def test_postgresql_takes_every_pool_at_once(
    deployed: Objects, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = deployed(which)
    arguments = named(everything, "StatefulSet", "postgres")["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    most = next(int(one.partition("=")[2]) for one in arguments if one.startswith("max_connections="))
    api = named(everything, "Deployment", "task-api")
    env = {one["name"]: one.get("value") for one in api["spec"]["template"]["spec"]["containers"][0]["env"]}
    replicas = api["spec"].get("replicas") or next(
        one["spec"]["maxReplicas"] for one in everything
        if one["kind"] == "HorizontalPodAutoscaler" and one["metadata"]["name"] == "task-api"
    )  # fmt: skip
    surge = int(api["spec"]["strategy"]["rollingUpdate"]["maxSurge"])
    assert _connections(env, monkeypatch) * (replicas + surge) + BESIDES <= min(most, BY_DEFAULT)


@pytest.mark.parametrize("service", SERVICES)
def test_an_app_outlives_what_is_under_way_and_its_sidecar_the_app(objects: Objects, service: str) -> None:
    pod = next(one for one in pods(objects("chart-production")) if one.owner["metadata"]["name"] == service)
    drain = pod.spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    inbound, ending = 3, 10  # components/resiliency.yaml, service_kit.http_app.GRACEFUL_SECONDS
    block = int(pod.annotations["dapr.io/block-shutdown-duration"].removesuffix("s"))
    assert drain > inbound
    assert block > drain + ending
    grace = pod.spec["terminationGracePeriodSeconds"]
    assert grace >= block + int(pod.annotations["dapr.io/graceful-shutdown-seconds"])
    strategy = pod.owner["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 1, "maxUnavailable": 0}
