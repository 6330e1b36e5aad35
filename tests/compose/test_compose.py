"""compose.yaml speaks of settings, ports, files, secrets and dependencies that there are."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from event_contracts.topics import SERVICES
from service_kit.settings import ServiceSettings, load_settings

ROOT = Path(__file__).parents[2]
_COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_RELOAD = yaml.safe_load((ROOT / "compose.reload.yaml").read_text())["services"]
_DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What compose/secrets.sh writes."""
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    subprocess.run([str(ROOT / "compose/secrets.sh"), str(folder)], check=True, capture_output=True)
    return folder


@cache
def _settings(service: str) -> type[ServiceSettings]:
    module = import_module(f"{service.replace('-', '_')}.settings")
    (found,) = {
        thing
        for thing in vars(module).values()
        if isinstance(thing, type) and issubclass(thing, ServiceSettings) and thing is not ServiceSettings
    }
    return found


def _environment(service: str, secrets: Path) -> dict[str, str]:
    merged: dict[str, str] = {}
    for path in _SERVICES[service].get("env_file", []):
        for line in (secrets / Path(path).name).read_text().splitlines():
            name, _, value = line.partition("=")
            merged[name] = value.strip("'")
    return {**merged, **_SERVICES[service].get("environment", {})}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_what_it_is_given(
    service: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = _environment(service, secrets)
    assert {name.lower() for name in given} <= set(_settings(service).model_fields)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load_settings(_settings(service))
    assert settings.dapr_runtime_host == f"{service}-dapr"


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_those_of_the_code_and_the_image(service: str) -> None:
    port = _settings(service).model_fields["app_port"].default
    assert _SERVICES[service]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"--app-port={port}" in _SERVICES[f"{service}-dapr"]["command"]
    stage = re.search(rf"^FROM service AS {service}$(.*?)^FROM", _DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert stage is not None
    assert f"ENV APP_PORT={port}\nEXPOSE {port}\n" in stage.group(1)
    assert f'"{service.replace("-", "_")}"]' in stage.group(1)


def test_each_sidecar_is_run_like_every_other() -> None:
    shapes = set()
    for service in SERVICES:
        words = _SERVICES[f"{service}-dapr"]["command"]
        assert f"--app-id={service}" in words
        assert f"--app-channel-address={service}" in words
        port = str(_settings(service).model_fields["app_port"].default)
        shapes.add(tuple(word.replace(service, "SERVICE").replace(port, "PORT") for word in words))
    assert len(shapes) == 1


def test_sidecars_have_the_options_of_the_native_stack() -> None:
    source = (ROOT / "stack/src/stack/processes.py").read_text()
    native = dict(re.findall(r'"(app-health-[a-z-]+)": "?([^",\n]+)"?,', source))
    assert len(native) == 4
    words = _SERVICES["task-api-dapr"]["command"]
    assert {f"--{name}={value}" for name, value in native.items()} <= set(words)


def test_sidecars_are_held_to_the_list_of_calls_of_a_cluster() -> None:
    """tests/deploy holds the native stack to the same list, so every test on that shows that it is long enough."""
    ours = yaml.safe_load((ROOT / "compose/configuration.yaml").read_text())["spec"]
    cluster = yaml.safe_load((ROOT / "k8s/base/configuration.yaml").read_text())["spec"]
    assert cluster["api"]["allowed"]
    assert ours["api"] == cluster["api"]
    assert "./compose/configuration.yaml:/dapr/configuration.yaml:ro" in _SERVICES["task-api-dapr"]["volumes"]


def test_what_they_stand_on_is_of_the_versions_of_a_cluster() -> None:
    manifests = [*(ROOT / "k8s/backing").glob("*.yaml"), ROOT / "k8s/overlays/minikube/mailpit.yaml"]
    there = dict(
        re.findall(r"^ *image: (\S+/)?(\w+):(\S+)$", path.read_text(), re.MULTILINE)[0][1:] for path in manifests
        if "image:" in path.read_text()
    )  # fmt: skip
    assert there.keys() == {"kafka", "mailpit", "postgres", "redis"}
    assert {name: _SERVICES[name]["image"].rpartition(":")[2] for name in there} == there


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_reloads_runs_all_of_our_sources(
    service: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**_environment(service, secrets), **_RELOAD[service]["environment"]}.items():
        monkeypatch.setenv(name, value)
    assert load_settings(_settings(service)).reload is True
    package = service.replace("-", "_")
    mounted = {volume.split(":")[1] for volume in _RELOAD[service]["volumes"]}
    assert mounted == {f"/app/{one}" for one in (package, "service_kit", "event_contracts")}


def test_every_secret_that_a_component_asks_for_is_made(secrets: Path) -> None:
    made = json.loads((secrets / "dapr.json").read_text())
    wanted = {
        (item["secretKeyRef"]["name"], item["secretKeyRef"]["key"])
        for path in (ROOT / "components").glob("*.yaml")
        for item in yaml.safe_load(path.read_text()).get("spec", {}).get("metadata", [])
        if "secretKeyRef" in item
    }
    assert wanted
    assert wanted <= {(name, key) for name, keys in made.items() for key in keys}


def test_what_is_mounted_is_there(secrets: Path) -> None:
    for name, service in {**_SERVICES, **{f"reload {name}": part for name, part in _RELOAD.items()}}.items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            if source.startswith("./compose/secrets/"):
                assert (secrets / Path(source).name).is_file(), name
            elif source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
            elif not source.startswith("/"):
                assert source in _COMPOSE["volumes"], name
        for watched in service.get("develop", {}).get("watch", []):
            assert (ROOT / watched["path"]).exists(), name


def test_what_one_waits_for_is_there_and_can_be_waited_for() -> None:
    for name, service in _SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in _SERVICES, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in _SERVICES[other], (
                    f"{name} waits for {other}, which has no health check"
                )


def test_every_image_is_pinned_and_every_port_is_local() -> None:
    for name, service in _SERVICES.items():
        repository, _, tag = service["image"].partition(":")
        assert repository.startswith("taskstream/") or re.search(r"\d+\.\d+", tag), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_prometheus_asks_each_service_where_it_listens() -> None:
    configuration = yaml.safe_load((ROOT / "observability/prometheus/prometheus.yml").read_text())
    targets = {
        job["job_name"]: job["static_configs"][0]["targets"] for job in configuration["scrape_configs"]
    }
    for service in SERVICES:
        port = _settings(service).model_fields["app_port"].default
        assert targets[service] == [f"{service}:{port}"]
    hosts = {target.partition(":")[0] for found in targets.values() for target in found}
    assert hosts <= set(_SERVICES)


def test_secrets_that_are_there_stay(secrets: Path) -> None:
    before = (secrets / "tokens.env").read_text()
    told = subprocess.run(
        [str(ROOT / "compose/secrets.sh"), str(secrets)], check=True, capture_output=True, text=True
    )
    assert "nothing was done" in told.stdout
    assert (secrets / "tokens.env").read_text() == before
    assert (secrets / "tokens.env").stat().st_mode & 0o077 == 0
