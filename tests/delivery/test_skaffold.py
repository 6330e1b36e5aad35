"""`skaffold dev` can be ended and begun again: what it deletes at its end holds nothing that cannot be made again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.rendering import helm_template, kustomize, parse, pods
from tests.deploy.toolbox import Toolbox, toolbox

from event_contracts.topics import SERVICES

ROOT = Path(__file__).parents[2]
_CLUSTER, _SERVICES = yaml.safe_load_all((ROOT / "skaffold.yaml").read_text())
_KUBECTL = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$*" in
  *"get secrets"*) printf '%s\\n' $THERE ;;
  *"create "*) cat > "$CREATED" ;;
esac
"""


@pytest.fixture(scope="module")
def box() -> Toolbox:
    return toolbox()


def _profiles() -> dict[str, dict[str, Any]]:
    """The cluster's configuration as each profile leaves it."""
    return {one["name"]: {**_CLUSTER, **one} for one in _CLUSTER["profiles"]}


@pytest.mark.parametrize("profile", ["minikube", "staging", "production"])
def test_what_skaffold_deletes_is_the_overlay_without_the_namespace(box: Toolbox, profile: str) -> None:
    (folder,) = _profiles()[profile]["manifests"]["kustomize"]["paths"]
    ours, overlay = parse(kustomize(box, folder)), parse(kustomize(box, f"k8s/overlays/{profile}"))
    assert ours == [one for one in overlay if one["kind"] != "Namespace"]
    assert len(ours) == len(overlay) - 1


@pytest.mark.parametrize(
    ("profile", "command"),
    [
        ("minikube", ["skaffold/secrets.sh"]),
        ("staging", [".github/scripts/external_secrets.sh", "--values", "helm/taskstream/values-staging.yaml"]),
        ("production", [".github/scripts/external_secrets.sh", "--values", "helm/taskstream/values-production.yaml"]),
    ],
)  # fmt: skip
def test_namespace_and_secrets_come_before_what_needs_them(profile: str, command: list[str]) -> None:
    (before,) = _profiles()[profile]["deploy"]["kubectl"]["hooks"]["before"]
    assert before == {"host": {"command": command}}
    assert os.access(ROOT / command[0], os.X_OK)


def _make_secrets(folder: Path, there: str) -> tuple[list[str], list[dict[str, Any]]]:
    """What kubectl was asked, and the secrets that it was to create."""
    folder.mkdir()
    (folder / "kubectl").write_text(_KUBECTL)
    (folder / "kubectl").chmod(0o755)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(folder / "calls"),
        "CREATED": str(folder / "created"), "THERE": there, "SKAFFOLD_KUBE_CONTEXT": "minikube",
    }  # fmt: skip
    subprocess.run([str(ROOT / "skaffold/secrets.sh")], env=environment, check=True, timeout=60)
    created = folder / "created"
    return (folder / "calls").read_text().splitlines(), parse(created.read_text()) if created.exists() else []


def test_secrets_that_are_there_stay_and_those_that_lack_are_made(tmp_path: Path) -> None:
    calls, made = _make_secrets(tmp_path / "first", "")
    assert calls[0] == "--context minikube apply -f k8s/base/namespace.yaml"
    names = [one["metadata"]["name"] for one in made]
    assert {"postgres-secret", "task-api-secret", "dapr-api-token"} <= set(names)
    keys = next(one["stringData"] for one in made if one["metadata"]["name"] == "task-api-secret")
    assert keys["jwt-private-keys"].endswith("-----END PRIVATE KEY-----\n")

    there = " ".join(f"secret/{name}" for name in names)
    calls, made = _make_secrets(tmp_path / "again", there)
    assert made == []
    assert not [call for call in calls if "create" in call]

    _, made = _make_secrets(tmp_path / "one-lacks", there.replace("secret/redis-secret", "secret/other"))
    assert [one["metadata"]["name"] for one in made] == ["redis-secret"]


def test_a_source_that_is_saved_starts_a_process_and_no_container(box: Toolbox) -> None:
    (release,) = _SERVICES["deploy"]["helm"]["releases"]
    assert release["valuesFiles"] == ["helm/taskstream/values-minikube.yaml", "skaffold/values.yaml"]
    values = yaml.safe_load((ROOT / "skaffold/values.yaml").read_text())
    assert (values["liveCode"], values["settings"]) == (True, {"RELOAD": "true"})
    # The kubelet waits longer and longer before each restart; five minutes are left to mend a source.
    for probe in ("startup", "liveness"):
        assert values["probes"][probe]["periodSeconds"] * values["probes"][probe]["failureThreshold"] == 300
    options = [word for path in release["valuesFiles"] for word in ("-f", str(ROOT / path))]
    services = [pod for pod in pods(parse(helm_template(box, *options))) if pod.owner["kind"] == "Deployment"]
    reloading = {
        pod.name
        for pod in services
        if {"name": "RELOAD", "value": "true"} in pod.spec["containers"][0]["env"]
    }
    assert reloading == {f"Deployment {name}" for name in SERVICES}
    for artifact in _SERVICES["build"]["artifacts"]:
        assert "hooks" not in artifact.get("sync", {}), artifact["image"]


@pytest.mark.parametrize("profile", ["staging", "production"])
def test_other_clusters_get_their_values_and_none_of_development(profile: str) -> None:
    (patches,) = (one["patches"] for one in _SERVICES["profiles"] if one["name"] == profile)
    files = ["helm/taskstream/values-minikube.yaml", "skaffold/values.yaml"]
    for patch in patches:
        if "/valuesFiles/" in patch["path"]:
            place = int(patch["path"].rpartition("/")[2])
            files[place : place + 1] = [patch["value"]] if patch["op"] == "replace" else []
    assert files == [f"helm/taskstream/values-{profile}.yaml"]
