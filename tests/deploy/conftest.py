"""The programs, and everything that they render, once per run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from tests.deploy.rendering import OVERLAYS, ROOT, SWITCHES, VALUES, Manifest, helm_template, kustomize, parse
from tests.deploy.toolbox import Toolbox, toolbox

Rendered = Callable[[str], str]
"""`chart-<values>`, `cluster-<overlay>`, `chart-switches`, `jobs`, `jobs-managed`, `restore`, `issuers` or
`observability`, as text."""
NAMES = (
    *(f"chart-{one}" for one in VALUES),
    "chart-switches",
    *(f"cluster-{one}" for one in OVERLAYS),
    "jobs",
    "jobs-managed",
    "restore",
    "issuers",
    "observability",
)


@pytest.fixture(scope="session")
def box() -> Toolbox:
    return toolbox()


@pytest.fixture(scope="session")
def rendered(box: Toolbox) -> Rendered:
    @cache
    def render(name: str) -> str:
        kind, _, which = name.partition("-")
        if name == "chart-switches":
            return helm_template(box, *SWITCHES)
        if kind == "chart":
            return helm_template(box, *VALUES[which])
        if kind == "cluster":
            return kustomize(box, f"k8s/overlays/{which}")
        if name == "issuers":
            return (ROOT / "k8s/issuers.yaml").read_text(encoding="utf-8")
        if name == "observability":
            return kustomize(box, name)
        return kustomize(box, f"k8s/{which}/jobs" if which else f"k8s/{kind}")

    return render


@pytest.fixture(scope="session")
def objects(rendered: Rendered) -> Callable[[str], list[Manifest]]:
    @cache
    def load(name: str) -> list[Manifest]:
        return parse(rendered(name))

    return load


@pytest.fixture(scope="session")
def deployed(objects: Callable[[str], list[Manifest]]) -> Callable[[str], list[Manifest]]:
    """Everything of one environment: the overlay and the chart with its values."""
    return lambda which: objects(f"cluster-{which}") + objects(f"chart-{which}")
