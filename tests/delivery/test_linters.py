"""Workflows, the Dockerfile and the scripts of the delivery are such that their readers find nothing to say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.delivery.linters import Linters, linters

ROOT = Path(__file__).parents[2]
_SCRIPTS = sorted(
    path for folder in (".github/scripts", "compose", "skaffold") for path in (ROOT / folder).glob("*.sh")
)


@pytest.fixture(scope="module")
def readers() -> Linters:
    return linters()


def _said(*words: str | Path, stdin: str | None = None) -> tuple[int, str]:
    read = subprocess.run(
        [str(word) for word in words], input=stdin, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    return read.returncode, read.stdout + read.stderr


def test_workflows(readers: Linters) -> None:
    """Their shell steps too."""
    workflows = sorted((ROOT / ".github/workflows").glob("*.yaml"))
    assert _said(readers.actionlint, f"-shellcheck={readers.shellcheck}", *workflows) == (0, "")


def test_the_dockerfile(readers: Linters) -> None:
    assert _said(readers.hadolint, "Dockerfile") == (0, "")


@pytest.mark.parametrize("script", _SCRIPTS, ids=lambda path: path.name)
def test_a_script(readers: Linters, script: Path) -> None:
    assert _said(readers.shellcheck, script) == (0, "")
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("needs: staging", "needs: stagings", "stagings"),
        ("steps.watch.outcome", "steps.watched.outcome", "watched"),
        ('"$KUBECONFIG_DATA"', "$KUBECONFIG_DATA", "SC2086"),
    ],
)
def test_a_workflow_with_a_fault_is_told(readers: Linters, before: str, after: str, found: str) -> None:
    text = (ROOT / ".github/workflows/deploy.yaml").read_text()
    assert before in text
    code, said = _said(
        readers.actionlint, f"-shellcheck={readers.shellcheck}", "-", stdin=text.replace(before, after, 1)
    )
    assert code == 1
    assert found in said
