"""Components, chart, k8s/, skaffold and the code say the same of app-ids, ports, settings, secrets and paths."""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.rendering import (
    ROOT,
    VALUES,
    Manifest,
    Pod,
    environment,
    named,
    parse,
    pods,
    run,
    secret_places,
)

from event_contracts.topics import SERVICES
from notifier.app import build as build_notifier
from notifier.settings import NotifierSettings
from recurrence.app import build as build_recurrence
from recurrence.settings import RecurrenceSettings
from reminders.app import build as build_reminders
from reminders.settings import RemindersSettings
from service_kit.settings import ServiceSettings, load_settings
from stack import processes, resources
from stack.identity import Identity
from stack.kafka_jars import KafkaHome
from stack.ports import Ports
from stack.prepare import Tools
from stack.services import TASKSTREAM, Facts
from task_api.app import build as build_task_api
from task_api.settings import DatabaseSettings, Settings

Objects = Callable[[str], list[Manifest]]
SETTINGS: dict[str, type[ServiceSettings]] = {
    "task-api": Settings,
    "reminders": RemindersSettings,
    "recurrence": RecurrenceSettings,
    "notifier": NotifierSettings,
}
BUILDS: dict[str, Callable[..., Any]] = {
    "task-api": build_task_api,
    "reminders": build_reminders,
    "recurrence": build_recurrence,
    "notifier": build_notifier,
}
WHICH = tuple(VALUES)
FACTS = Facts(Ports.of("t1"), Identity("pg", "rd", "dapr", "app", "pem", "key", "link", "vapid", "cluster"))


@pytest.fixture(scope="module")
def secrets() -> dict[str, dict[str, str]]:
    """What k8s/make-secrets.sh makes."""
    made = parse(run("sh", ROOT / "k8s/make-secrets.sh"))
    return {one["metadata"]["name"]: one["stringData"] for one in made}


def _pod(objects: list[Manifest], name: str) -> Pod:
    return next(pod for pod in pods(objects) if pod.owner["metadata"]["name"] == name)


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("service", SERVICES)
def test_every_variable_is_a_setting(objects: Objects, service: str, which: str) -> None:
    given = {one["name"] for one in _pod(objects(f"chart-{which}"), service).spec["containers"][0]["env"]}
    known = {field.upper() for field in SETTINGS[service].model_fields}
    assert given <= known
    required = {name.upper() for name, field in SETTINGS[service].model_fields.items() if field.is_required()}
    assert required <= given


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_what_it_is_given_and_serves_the_port_that_is_told(
    objects: Objects, secrets: dict[str, dict[str, str]], service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = _pod(objects("chart-minikube"), service)
    for name, value in environment(pod, secrets).items():
        monkeypatch.setenv(name, value)
    settings = load_settings(SETTINGS[service])
    (port,) = pod.spec["containers"][0]["ports"]
    assert settings.app_port == port["containerPort"] == int(pod.annotations["dapr.io/app-port"])
    assert settings.service_name == service == pod.annotations["dapr.io/app-id"]
    assert settings.app_host == "0.0.0.0"
    assert pod.spec["containers"][0]["command"] == ["python", "-m", TASKSTREAM.named(service).module]


def test_the_migration_needs_no_more_than_it_is_given(
    objects: Objects, secrets: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = _pod(objects("chart-minikube"), "taskstream-migrate")
    given = environment(pod, secrets)
    assert given.keys() == {"DATABASE_URL"}
    monkeypatch.setenv("DATABASE_URL", given["DATABASE_URL"])
    load_settings(DatabaseSettings)


def test_an_authority_reaches_all_that_speak_to_its_store(objects: Objects) -> None:
    """A provider's own authority is a key of the store's secret; who speaks to the store may find it missing."""
    chart = objects("chart-managed")
    stores = {"DATABASE_URL": "DATABASE_CA", "REDIS_URL": "REDIS_CA", "KAFKA_BOOTSTRAP": "KAFKA_CA"}
    seen = set()
    for pod in [*pods(chart), *pods(objects("jobs-managed"))]:
        entries = {one["name"]: one for container in pod.containers for one in container.get("env", [])}
        for address, authority in stores.items():
            if address in entries:
                place = entries[authority]["valueFrom"]["secretKeyRef"]
                secret = entries[address]["valueFrom"]["secretKeyRef"]["name"]
                assert place == {"name": secret, "key": "ca", "optional": True}, pod.name
                seen.add((pod.owner["metadata"]["name"], authority))
    jobs = {("taskstream-topics", "KAFKA_CA"), ("taskstream-migrate", "DATABASE_CA")}
    doctor = {(name, one) for name in ("taskstream-doctor", "operator") for one in stores.values()}
    services = {(one, "REDIS_CA") for one in SERVICES} | {("task-api", "DATABASE_CA")}
    assert seen == jobs | doctor | services | {("exporter", "KAFKA_CA")}
    for service in SERVICES:
        pod = _pod(chart, service)
        (volume,) = (one for one in pod.spec["volumes"] if one["name"] == "authority")
        assert volume["secret"] == {
            "secretName": "redis-secret", "optional": True, "items": [{"key": "ca", "path": "ca.crt"}],
        }  # fmt: skip
        folder = _variables(pod)["SSL_CERT_DIR"]
        assert f"authority:{folder}" in pod.annotations["dapr.io/volume-mounts"].split(",")


def test_each_secret_that_is_asked_for_is_made(deployed: Objects, secrets: dict[str, dict[str, str]]) -> None:
    asked = secret_places(deployed("minikube") + deployed("production"), optional=False)
    assert asked == {(name, key) for name, keys in secrets.items() for key in keys}


@pytest.mark.parametrize("which", ["staging", "production", "managed"])
def test_each_secret_comes_from_the_external_store(deployed: Objects, which: str) -> None:
    everything = deployed(which)
    made = {one["metadata"]["name"] for one in everything if one["kind"] == "ExternalSecret"}
    assert made == {name for name, _ in secret_places(everything)}


@pytest.mark.parametrize("which", WHICH)
def test_sidecars_read_the_secrets_of_their_components_and_no_others(deployed: Objects, which: str) -> None:
    everything = deployed(which)
    asked = secret_places([one for one in everything if one["apiVersion"] == "dapr.io/v1alpha1"])
    (rule,) = named(everything, "Role", "component-secrets")["rules"]
    assert (rule["verbs"], set(rule["resourceNames"])) == (["get"], {name for name, _ in asked})
    for service in SERVICES:
        binding = named(everything, "RoleBinding", f"{service}-component-secrets")
        assert [one["name"] for one in binding["subjects"]] == [service]
        pod = _pod(everything, service)
        assert pod.spec["serviceAccountName"] == service
        mounts = [mount["name"] for one in pod.containers for mount in one["volumeMounts"]]
        assert "component-secrets" not in mounts


@pytest.mark.parametrize("which", WHICH)
def test_the_cluster_has_the_components_of_the_native_stack(objects: Objects, which: str) -> None:
    """The same files; a managed broker adds how to log in, and changes nothing else."""
    folder = ROOT / "components"
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))["resources"]
    assert sorted(listed) == sorted({path.name for path in folder.iterdir()} - {"kustomization.yaml"})
    for name in listed:
        local = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        there = named(objects(f"cluster-{which}"), local["kind"], local["metadata"]["name"])
        if which == "managed" and name in ("pubsub.yaml", "statestore.yaml"):
            before = {one["name"]: one for one in local["spec"]["metadata"]}
            after = {one["name"]: one for one in there["spec"]["metadata"]}
            changed = {key for key in before if before[key] != after[key]}
            assert changed == ({"authType"} if name == "pubsub.yaml" else set())
            assert {"publishingScopes", "subscriptionScopes", "protectedTopics"} & (
                after.keys() - before.keys()
            ) == set()
        else:
            assert there["spec"] == local["spec"]
        assert there.get("scopes") == local.get("scopes")


def test_a_sidecar_publishes_nothing_twice() -> None:
    """Three failures shut a partition for 10 s: with a retry, one event would be enough."""
    policy = yaml.safe_load((ROOT / "components/resiliency.yaml").read_text(encoding="utf-8"))
    assert set(policy["spec"]["targets"]["components"]["pubsub"]["outbound"]) == {"timeout"}


def test_every_app_id_is_told_the_same_everywhere(deployed: Objects) -> None:
    everything = deployed("production")
    ids = {
        pod.annotations["dapr.io/app-id"] for pod in pods(everything) if "dapr.io/app-id" in pod.annotations
    }
    store = named(everything, "Component", "secretstore")
    configuration = named(everything, "Configuration", "taskstream")["spec"]
    assert ids == set(SERVICES) == set(store["scopes"])
    for service in SERVICES:
        assert _pod(everything, service).annotations["dapr.io/config"] == "taskstream"
    control = configuration["accessControl"]
    assert control["defaultAction"] == "deny"
    assert {one["appId"] for one in control["policies"]} == set(SERVICES) - {"task-api"}
    namespace = named(everything, "Namespace", "todo")["metadata"]["name"]
    for policy in control["policies"]:
        assert (policy["defaultAction"], policy["namespace"]) == ("deny", namespace)
        (allowed,) = policy["operations"]
        assert allowed["name"] == "/internal/v1/**"
        assert set(allowed["httpVerb"]) == _verbs_to_task_api(policy["appId"])


def _verbs_to_task_api(service: str) -> set[str]:
    """By which methods the source of a service asks task-api."""
    asking = [
        text
        for path in (ROOT / "services" / service).rglob("*.py")
        if ".invoke(" in (text := path.read_text())
    ]
    assert asking
    return {verb for text in asking for verb in re.findall(r'"(GET|POST|PUT|PATCH|DELETE)"', text)}


def test_a_sidecar_is_started_like_a_native_one(objects: Objects) -> None:
    tools = Tools(
        Path("pg"), Path("redis"), Path("java"), KafkaHome(Path("kafka"), Path("log4j2.xml")), Path("daprd")
    )
    service = TASKSTREAM.named("reminders")
    native = processes.sidecar(
        tools, service, 1, 1, Path(), FACTS,
        components=Path("c"), resources=resources.Resources(Path("r"), Path("f")), topics=True,
    ).argv  # fmt: skip
    options = {name: value for name, value in itertools.pairwise(native) if name.startswith("--")}
    annotations = _pod(objects("chart-production"), "reminders").annotations
    shared = (
        "app-health-check-path",
        "app-health-probe-interval",
        "app-health-probe-timeout",
        "app-health-threshold",
    )
    for name in shared:
        assert annotations[f"dapr.io/{name}"] == options[f"--{name}"]
    assert "--enable-app-health-check" in native
    assert annotations["dapr.io/enable-app-health-check"] == "true"


def _variables(pod: Pod) -> dict[str, str]:
    return dict(one.split("=") for one in pod.annotations["dapr.io/env"].split(","))


@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("service", SERVICES)
def test_sidecars_collect_their_garbage_alike_and_before_they_are_killed_for_it(
    objects: Objects, service: str, which: str
) -> None:
    pod = _pod(objects(f"chart-{which}"), service)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]
    assert processes.GARBAGE.items() <= _variables(pod).items()
    assert compose[f"{service}-dapr"]["environment"] == processes.GARBAGE
    kept, limit = processes.GARBAGE["GOMEMLIMIT"], pod.annotations["dapr.io/sidecar-memory-limit"]
    assert int(kept.removesuffix("MiB")) <= 0.85 * int(limit.removesuffix("Mi"))


def test_native_sidecars_are_held_to_the_same_list_of_calls(objects: Objects) -> None:
    """So every test on the native stack shows that the list is long enough."""
    native = yaml.safe_load(resources.configuration(Path("names.db"), None))["spec"]
    cluster = named(objects("cluster-production"), "Configuration", "taskstream")["spec"]
    assert native["api"] == cluster["api"]


@pytest.mark.parametrize(("jobs", "chart"), [("jobs", "chart-production"), ("jobs-managed", "chart-managed")])
def test_the_jobs_of_kustomize_are_the_hooks_of_the_chart(objects: Objects, jobs: str, chart: str) -> None:
    for name in ("taskstream-topics", "taskstream-migrate"):
        hook = copy.deepcopy(named(objects(chart), "Job", name)["spec"])
        job = named(objects(jobs), "Job", name)["spec"]
        hook["template"]["spec"].pop("serviceAccountName", None)
        labels = hook["template"]["metadata"]["labels"]
        for release in ("instance", "version", "managed-by"):
            labels.pop(f"app.kubernetes.io/{release}", None)
        assert hook == job


def _answers(paths: list[tuple[str, str, str]], path: str) -> str | None:
    """The service that an ingress sends `path` to: an exact match, else the longest prefix of whole segments."""
    for service, kind, known in paths:
        if kind == "Exact" and known == path:
            return service
    fitting = [
        (len(known), service)
        for service, kind, known in paths
        if kind == "Prefix" and (path == known or path.startswith(known.rstrip("/") + "/"))
    ]
    return max(fitting)[1] if fitting else None


@pytest.fixture(scope="module")
def paths(objects: Objects) -> list[tuple[str, str, str]]:
    (rule,) = named(objects("chart-production"), "Ingress", "taskstream")["spec"]["rules"]
    return [
        (one["backend"]["service"]["name"], one["pathType"], one["path"]) for one in rule["http"]["paths"]
    ]


@pytest.mark.parametrize("service", SERVICES)
def test_the_ingress_leads_each_public_path_to_its_service(
    objects: Objects, secrets: dict[str, dict[str, str]], paths: list[tuple[str, str, str]], service: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in environment(_pod(objects("chart-minikube"), service), secrets).items():
        monkeypatch.setenv(name, value)
    app = BUILDS[service](load_settings(SETTINGS[service]))
    public = [path for path in app.openapi()["paths"] if path.startswith(("/api/", "/.well-known/"))]
    assert public
    for path in public:
        assert _answers(paths, path) == service, path


@pytest.mark.parametrize(
    "path", ["/internal/v1/tasks/x", "/events/task-created", "/dapr/subscribe", "/metrics", "/reminder-cron",
             "/recurrence-cron", "/delivery-cron", "/health/deliveries", "/v1.0/state/statestore"]
)  # fmt: skip
def test_the_ingress_leads_nobody_inside(paths: list[tuple[str, str, str]], path: str) -> None:
    assert _answers(paths, path) is None


def test_skaffold_builds_and_forwards_what_there_is() -> None:
    cluster, services = yaml.safe_load_all((ROOT / "skaffold.yaml").read_text(encoding="utf-8"))
    images = {one["image"]: one["docker"]["buildArgs"]["SERVICE"] for one in services["build"]["artifacts"]}
    assert images == {f"taskstream/{name}": name for name in (*SERVICES, "cli")}
    forwarded = {one["resourceName"]: one["localPort"] for one in services["portForward"]}
    assert {name: forwarded[name] for name in SERVICES} == {name: 8000 + i for i, name in enumerate(SERVICES)}
    (release,) = services["deploy"]["helm"]["releases"]
    assert (ROOT / release["chartPath"]).is_dir()
    set_images = {
        key.removeprefix("services.").removesuffix(".image") for key in release["setValueTemplates"]
    }
    assert set_images == {*SERVICES, "cli"}
    for artifact in services["build"]["artifacts"]:
        for rule in artifact.get("sync", {}).get("manual", []):
            assert (ROOT / rule["strip"]).is_dir(), rule
    for profile in cluster["profiles"]:
        for path in profile.get("manifests", {}).get("kustomize", {}).get("paths", []):
            assert (ROOT / path / "kustomization.yaml").is_file()
    for profile in services["profiles"]:
        for patch in profile.get("patches", []):
            if patch["op"] == "replace":
                assert (ROOT / patch["value"]).is_file()


def test_every_path_of_the_chart_has_a_schema_that_is_closed() -> None:
    schema = json.loads((ROOT / "helm/taskstream/values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((ROOT / "helm/taskstream/values.yaml").read_text(encoding="utf-8"))
    assert schema["additionalProperties"] is False
    assert values.keys() <= schema["properties"].keys()


def test_kafka_logs_as_on_the_native_stack() -> None:
    native = (ROOT / "stack/kafka/log4j2.xml").read_bytes()
    assert (ROOT / "k8s/backing/kafka/log4j2.xml").read_bytes() == native
