"""Workflows pin what they use and ask for no more than they need; the watch after a release tells health from harm."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
_WATCH = ROOT / ".github/scripts/health_watch.sh"
_FILES = sorted((ROOT / ".github/workflows").glob("*.yaml"))
_MAY_WRITE = {
    ("images", "image"): {"packages", "id-token"},
    ("deploy", "images"): {"packages", "id-token"},
    ("release", "images"): {"packages", "id-token"},
    ("release", "publish"): {"contents", "packages"},
}


def _jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in _FILES:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            yield path.stem, name, job


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_commit(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used
    for action, comment in used:
        if not action.startswith("./.github/"):
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action), action
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action} does not say which version it is"


@pytest.mark.parametrize("path", _FILES, ids=lambda path: path.stem)
def test_a_workflow_may_read_the_contents_and_nothing_else(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}


def test_a_job_may_write_what_it_needs() -> None:
    writing = {
        (workflow, name): {scope for scope, level in job["permissions"].items() if level == "write"}
        for workflow, name, job in _jobs()
        if "permissions" in job
    }
    assert writing == _MAY_WRITE


def _workflow(name: str) -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load((ROOT / f".github/workflows/{name}.yaml").read_text())
    return loaded


def test_no_image_is_built_and_nothing_is_deployed_of_a_commit_that_fails_a_test() -> None:
    # YAML 1.1 reads the key `on` as a truth.
    assert _workflow("ci")[True].keys() == {"pull_request", "workflow_call"}
    assert _workflow("deploy")[True] == {"push": {"branches": ["main"]}}
    jobs = _workflow("deploy")["jobs"]
    assert jobs["ci"] == {"uses": "./.github/workflows/ci.yaml"}
    assert [jobs[name]["needs"] for name in ("images", "staging", "production")] == [
        "ci",
        "images",
        "staging",
    ]
    version = _workflow("release")["jobs"]
    assert version["ci"]["uses"] == "./.github/workflows/ci.yaml"
    assert "ci" in version["images"]["needs"]
    assert "images" in version["publish"]["needs"]


def test_production_waits_for_its_approval_is_watched_and_goes_back() -> None:
    jobs = _workflow("deploy")["jobs"]
    for name in ("staging", "production"):
        assert jobs[name]["environment"] == name
        assert jobs[name]["concurrency"] == {"group": f"deploy-{name}", "cancel-in-progress": False}
        checkout, release, *_ = jobs[name]["steps"]
        assert checkout["with"]["fetch-depth"] == 0
        assert f".github/scripts/release.sh {name}" in release["run"]
    assert "helm test taskstream" in jobs["staging"]["steps"][2]["run"]
    _, release, watch, back = jobs["production"]["steps"]
    assert (release["id"], watch["id"]) == ("release", "watch")
    assert watch["run"] == '.github/scripts/health_watch.sh "https://$HOST/health" 600'
    assert back["if"] == "failure() && steps.watch.outcome == 'failure'"
    assert back["env"] == {"BEFORE": "${{ steps.release.outputs.before }}"}
    assert back["run"] == '.github/scripts/rollback.sh production "$BEFORE"'


def test_an_image_is_built_with_its_parts_list_scanned_signed_and_only_then_named() -> None:
    (steps,) = (job["steps"] for workflow, _, job in _jobs() if workflow == "images")
    _, _, build, scan, sign, tag = steps
    for word in ("--sbom=true", "--provenance=mode=max", "$IMAGE:$GITHUB_SHA,push=true"):
        assert word in build["run"]
    assert "--severity HIGH,CRITICAL" in scan["run"]
    assert "--exit-code 1" in scan["run"]
    assert '"$COSIGN" sign --yes "$IMAGE@$DIGEST"' in sign["run"]
    assert "$IMAGE:$VERSION" in tag["run"]
    assert tag["if"] == "inputs.version != ''"


def test_every_job_ends_and_no_step_holds_a_token_in_git() -> None:
    for workflow, name, job in _jobs():
        if "uses" in job:
            continue
        assert job["timeout-minutes"] <= 90, (workflow, name)
        for step in job["steps"]:
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, (workflow, name)


def test_the_api_server_is_asked_every_night() -> None:
    nightly = yaml.safe_load((ROOT / ".github/workflows/nightly.yaml").read_text())
    # YAML 1.1 reads the key `on` as a truth.
    assert nightly[True]["schedule"]
    job = nightly["jobs"]["manifests"]
    assert job["env"] == {"DEPLOY_APISERVER": "1"}
    assert job["steps"][-1]["run"] == "make test-deploy"


def test_every_image_that_the_dockerfile_makes_is_built() -> None:
    stages = set(
        re.findall(r"^FROM (?:service|runtime) AS (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    )
    (image,) = (job for workflow, _, job in _jobs() if workflow == "images")
    assert set(image["strategy"]["matrix"]["service"]) == stages - {"service"}


class _Installation(ThreadingHTTPServer):
    """Answers /health with the statuses that are left, the last one for ever; and what Prometheus answers."""

    health: tuple[int, ...] = (200,)
    errors = '{"data":{"result":[]}}'
    asked = 0


class _Answers(BaseHTTPRequestHandler):
    server: _Installation

    def do_GET(self) -> None:
        if self.path == "/health":
            place = min(self.server.asked, len(self.server.health) - 1)
            self.server.asked += 1
            self.send_response(self.server.health[place])
            self.end_headers()
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.server.errors.encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def installation() -> Iterator[_Installation]:
    with _Installation(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _watch(installation: _Installation, seconds: int = 5, *, with_prometheus: bool = True) -> int:
    base = f"http://127.0.0.1:{installation.server_address[1]}"
    environment = {**os.environ, "INTERVAL": "1"}
    if with_prometheus:
        environment["PROMETHEUS_URL"] = base
    watched = subprocess.run(
        [str(_WATCH), f"{base}/health", str(seconds)],
        env=environment,
        check=False,
        timeout=60,
        capture_output=True,
    )
    return watched.returncode


def test_health_to_the_end_passes(installation: _Installation) -> None:
    assert _watch(installation) == 0


def test_one_bad_answer_is_forgiven(installation: _Installation) -> None:
    installation.health = (200, 503, 200)
    assert _watch(installation) == 0


def test_three_bad_answers_in_a_row_fail(installation: _Installation) -> None:
    installation.health = (200, 503)
    assert _watch(installation, 20) == 1
    assert installation.asked == 4


def test_errors_fail_while_health_is_fine(installation: _Installation) -> None:
    installation.errors = '{"data":{"result":[{"value":[0,"0.2"]}]}}'
    assert _watch(installation) == 1


def test_without_prometheus_health_alone_counts(installation: _Installation) -> None:
    installation.errors = '{"data":{"result":[{"value":[0,"0.2"]}]}}'
    assert _watch(installation, 2, with_prometheus=False) == 0
