"""A release tells the cluster before it brings code, and goes back to what the cluster was told with the code before.

Helm and kubectl stand in: they write down what they are asked, and render for real.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from tests.deploy.toolbox import Toolbox, toolbox

ROOT = Path(__file__).parents[2]
_HELM = """#!/bin/sh
echo "helm $*" >> "$CALLS"
case "$*" in *"$FAILS"*) exit 1 ;; esac
case "$1 $2" in
  "list "*) [ -z "$HISTORY" ] || echo taskstream ;;
  "history "*) printf '%s\\n' "$HISTORY" ;;
  "get values") printf 'host: tasks.example.org\\nimage:\\n  repository: r\\n  tag: %s\\n' "$TAG" ;;
  "template "*) exec "$REAL_HELM" "$@" ;;
esac
"""
_KUBECTL = """#!/bin/sh
echo "kubectl $*" >> "$CALLS"
case "$*" in *"$FAILS"*) exit 1 ;; esac
case "$*" in
  kustomize*) exec "$REAL_KUBECTL" "$@" ;;
  "get deployment task-api"*) printf %s "$RUNS" ;;
  "apply -f /"*) cat "$3" > "$APPLIED" ;;
  *" -f -") cat > "$PIPED" ;;
esac
"""
_HISTORY = """- app_version: 0.1.0
  revision: 6
  status: superseded
- app_version: 0.1.0
  revision: 7
  status: deployed
- app_version: 0.1.0
  revision: 8
  status: failed"""


@pytest.fixture(scope="module")
def box() -> Toolbox:
    return toolbox()


@dataclass
class Installation:
    """A checkout of two commits, the first of which runs as revision 7, and a cluster that notes what it is asked."""

    checkout: Path
    box: Toolbox
    before: str = ""
    after: str = ""
    answers: dict[str, str] = field(default_factory=dict)

    @property
    def calls(self) -> list[str]:
        """What helm and kubectl were asked, one line each."""
        return (self.checkout / "calls").read_text().splitlines()

    def git(self, *words: str) -> str:
        told = subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
            cwd=self.checkout, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return told.stdout.strip()

    def run(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        programs = self.checkout / "programs"
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CALLS": str(self.checkout / "calls"),
            "APPLIED": str(self.checkout / "applied.yaml"),
            "PIPED": str(self.checkout / "piped.yaml"),
            "REAL_HELM": str(self.box.helm),
            "REAL_KUBECTL": str(self.box.kubectl),
            "GITHUB_OUTPUT": str(self.checkout / "output"),
            "GITHUB_SHA": self.after,
            "REPOSITORY": "registry.example.org/taskstream",
            "HOST": "tasks.example.org",
            "HISTORY": _HISTORY,
            "RUNS": self.before,
            "TAG": self.before,
            "FAILS": "nothing fails",
            **self.answers,
        }
        return subprocess.run(
            [str(self.checkout / ".github/scripts" / script), *words],
            env=environment, check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip


@pytest.fixture
def installation(box: Toolbox, tmp_path: Path) -> Installation:
    for folder in (".github/scripts", "k8s", "components", "helm"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in (("helm", _HELM), ("kubectl", _KUBECTL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in ("staging", "production"):
        with (tmp_path / f"helm/taskstream/values-{name}.yaml").open("a") as values:
            values.write("networkPolicy: {kubernetesApi: {cidrs: [10.96.0.1/32]}}\n")
    made = Installation(tmp_path, box)
    made.git("init", "--quiet")
    made.git("add", ".github", "k8s", "components", "helm")
    made.git("commit", "--quiet", "--message", "before")
    made.before = made.git("rev-parse", "HEAD")
    pubsub = tmp_path / "components/pubsub.yaml"
    pubsub.write_text(
        pubsub.read_text().replace("name: pubsub\n", "name: pubsub\n  labels: {new: topic}\n", 1)
    )
    made.git("commit", "--quiet", "--all", "--message", "after")
    made.after = made.git("rev-parse", "HEAD")
    return made


def _place(calls: list[str], start: str) -> int:
    (place,) = (number for number, call in enumerate(calls) if call.startswith(start))
    return place


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_the_cluster_is_told_before_the_code_comes(installation: Installation, environment: str) -> None:
    done = installation.run("release.sh", environment)
    assert done.returncode == 0, done.stderr
    calls = installation.calls
    overlay = f"--kustomize k8s/overlays/{environment}"
    order = [
        _place(calls, "kubectl apply -f k8s/base/namespace.yaml"),
        _place(calls, "kubectl wait externalsecrets --all"),
        _place(calls, f"kubectl apply --dry-run=server {overlay}"),
        _place(calls, f"kubectl apply {overlay}"),
        _place(calls, "kubectl rollout status statefulset"),
        _place(calls, "helm upgrade taskstream"),
    ]
    assert order == sorted(order)
    assert f"--values helm/taskstream/values-{environment}.yaml" in calls[-1]
    assert f"--set-string image.tag={installation.after}" in calls[-1]
    assert (installation.checkout / "output").read_text() == "before=7\n"


def test_secrets_come_before_postgresql_does(installation: Installation) -> None:
    assert installation.run("release.sh", "production").returncode == 0
    piped = [one for one in yaml.safe_load_all((installation.checkout / "piped.yaml").read_text()) if one]
    assert {one["kind"] for one in piped} == {"ExternalSecret"}
    assert "postgres-secret" in {one["metadata"]["name"] for one in piped}


def test_what_the_chart_is_refused_for_stops_a_release_before_anything_is_changed(
    installation: Installation,
) -> None:
    values = installation.checkout / "helm/taskstream/values-production.yaml"
    values.write_text(values.read_text().replace("10.96.0.1/32", ""))
    done = installation.run("release.sh", "production")
    assert done.returncode != 0
    assert "give the addresses of this cluster's API server" in done.stderr
    assert not [call for call in installation.calls if "--kustomize" in call or "upgrade" in call]


def test_a_provider_s_stores_are_not_waited_for(installation: Installation) -> None:
    assert installation.run("release.sh", "managed").returncode == 0
    calls = installation.calls
    assert not [call for call in calls if call.startswith("kubectl rollout")]
    assert "values-production.yaml --values helm/taskstream/values-managed.yaml" in calls[-1]


def test_what_the_api_server_refuses_changes_nothing(installation: Installation) -> None:
    installation.answers = {"FAILS": "--dry-run=server"}
    assert installation.run("release.sh", "production").returncode == 1
    assert not [
        call for call in installation.calls if call.startswith(("kubectl apply --kustomize", "helm up"))
    ]


@pytest.mark.parametrize("step", ["upgrade taskstream", "rollout status"])
def test_a_release_that_fails_goes_back_to_what_ran(installation: Installation, step: str) -> None:
    installation.answers = {"FAILS": step}
    assert installation.run("release.sh", "production").returncode == 1
    calls = installation.calls
    assert calls[-1].startswith("helm rollback taskstream 7 ")
    assert calls[-2].startswith("kubectl apply -f /")
    assert "new: topic" not in (installation.checkout / "applied.yaml").read_text()


def test_a_first_release_that_fails_has_nothing_to_go_back_to(installation: Installation) -> None:
    installation.answers = {"HISTORY": "", "RUNS": "", "FAILS": "upgrade taskstream"}
    assert installation.run("release.sh", "production").returncode == 1
    assert not [call for call in installation.calls if call.startswith("helm rollback")]


def test_a_commit_that_is_older_than_what_runs_is_refused(installation: Installation) -> None:
    installation.answers = {"RUNS": installation.after, "GITHUB_SHA": installation.before}
    done = installation.run("release.sh", "production")
    assert done.returncode == 1
    assert "nothing was done" in done.stderr
    assert not [call for call in installation.calls if " apply " in call]


def test_a_rollback_tells_the_cluster_what_it_knew_and_leaves_the_stores(installation: Installation) -> None:
    done = installation.run("rollback.sh", "production", "7")
    assert done.returncode == 0, done.stderr
    assert installation.calls[-1].startswith("helm rollback taskstream 7 ")
    applied = [one for one in yaml.safe_load_all((installation.checkout / "applied.yaml").read_text()) if one]
    assert {"Component", "Configuration", "Resiliency", "NetworkPolicy"} <= {one["kind"] for one in applied}
    assert {"StatefulSet", "PersistentVolumeClaim", "ConfigMap", "CronJob"} & {
        one["kind"] for one in applied
    } == set()
    (pubsub,) = (one for one in applied if one["metadata"]["name"] == "pubsub")
    assert "labels" not in pubsub["metadata"]


def test_a_rollback_takes_a_version_for_its_tag(installation: Installation) -> None:
    installation.git("tag", "v1.2.3", installation.before)
    installation.answers = {"TAG": "1.2.3"}
    assert installation.run("rollback.sh", "production", "7").returncode == 0
    assert "new: topic" not in (installation.checkout / "applied.yaml").read_text()


def test_images_go_back_even_when_their_commit_is_not_here(installation: Installation) -> None:
    installation.answers = {"TAG": "0" * 40}
    done = installation.run("rollback.sh", "production", "7")
    assert done.returncode == 0
    assert "stays as it is" in done.stderr
    assert installation.calls[-1].startswith("helm rollback taskstream 7 ")


@pytest.mark.parametrize(("script", "words"), [("release.sh", ["minikube"]), ("rollback.sh", ["production"]),
                                               ("rollback.sh", ["production", ""])])  # fmt: skip
def test_what_is_not_said_is_asked_for(installation: Installation, script: str, words: list[str]) -> None:
    done = installation.run(script, *words)
    assert done.returncode == 2
    assert f"usage: {script}" in done.stderr
    assert not (installation.checkout / "calls").exists()
