"""The operators' command is run in a cluster as the doctor of the release that runs is, with other words."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.deploy.rendering import VALUES, environment, helm_template, named, parse, pods
from tests.deploy.toolbox import Toolbox, toolbox

ROOT = Path(__file__).parents[2]
_SCRIPT = ROOT / ".github/scripts/taskstream.sh"
_HELM = '#!/bin/sh\ncat "$HOOKS"\n'
_KUBECTL = """#!/bin/sh
echo "$*" >> "$CALLS"
case "$1" in
  create) cat > "$CREATED" ;;
  logs) [ "$(grep -c ^logs "$CALLS")" -ge 2 ] && echo "reminders is ready again" ;;
  get) [ "$(grep -c ^get "$CALLS")" -lt 2 ] || printf %s "$CODE" ;;
esac
"""


@pytest.fixture(scope="module")
def box() -> Toolbox:
    return toolbox()


def _run(folder: Path, hooks: str, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    (folder / "hooks").write_text(hooks)
    for name, text in (("helm", _HELM), ("kubectl", _KUBECTL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    given = {
        "PATH": f"{folder}:{os.environ['PATH']}", "HOOKS": str(folder / "hooks"), "CALLS": str(folder / "calls"),
        "CREATED": str(folder / "created"), "CODE": str(code), "INTERVAL": "0.05",
    }  # fmt: skip
    return subprocess.run(
        [str(_SCRIPT), *words], env=given, check=False, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("values", ["minikube", "production", "managed"])
def test_a_command_has_the_doctor_s_pod_and_its_own_words(box: Toolbox, tmp_path: Path, values: str) -> None:
    chart = helm_template(box, *VALUES[values])
    done = _run(tmp_path, chart, "rebuild", "reminders", "--yes")
    assert (done.returncode, done.stdout) == (0, "reminders is ready again\n"), done.stderr
    (pod,) = pods(parse((tmp_path / "created").read_text()))
    (doctor,) = pods([named(parse(chart), "Pod", "taskstream-doctor")])
    assert pod.spec["containers"][0]["command"] == [
        "python", "-m", "taskstream_cli", "rebuild", "reminders", "--yes",
    ]  # fmt: skip
    for one in (pod, doctor):
        one.spec["containers"][0].pop("command")
    assert (pod.spec, pod.labels) == (doctor.spec, doctor.labels)
    name = pod.owner["metadata"]["name"]
    assert name != "taskstream-doctor"
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[-1].startswith(f"delete pod {name} ")


def test_a_rebuild_finds_the_addresses_that_it_needs(box: Toolbox) -> None:
    secrets = {"redis-secret": {"redis-url": "redis://r"}, "kafka-secret": {"brokers": "k"},
               "postgres-secret": {"database-url": "d"}, "app-api-token": {"token": "t"}}  # fmt: skip
    (doctor,) = pods([named(parse(helm_template(box, *VALUES["production"])), "Pod", "taskstream-doctor")])
    found = environment(doctor, secrets)
    assert {"REDIS_URL", "REMINDERS_URL", "RECURRENCE_URL", "NOTIFIER_URL"} <= found.keys()


def test_it_ends_as_the_command_did(box: Toolbox, tmp_path: Path) -> None:
    assert _run(tmp_path, helm_template(box), "doctor", code=1).returncode == 1


@pytest.mark.parametrize("words", [[], ["dlq", "discard", "--reason", 'said "so"']])
def test_what_a_pod_cannot_be_told_is_refused(tmp_path: Path, words: list[str]) -> None:
    assert _run(tmp_path, "", *words).returncode == 2
    assert not (tmp_path / "calls").exists()
