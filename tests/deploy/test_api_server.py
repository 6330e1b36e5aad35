"""A real API server takes what Helm and kustomize render: a schema knows fields, the server what they mean together."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from tests.deploy import api_server_build
from tests.deploy.api_server import ApiServer, api_server
from tests.deploy.conftest import NAMES, Rendered
from tests.deploy.rendering import MONITORING, NAMESPACE, ROOT, Manifest, RefusedError, named
from tests.deploy.toolbox import Toolbox

Objects = Callable[[str], list[Manifest]]


@pytest.fixture(scope="module")
def server(box: Toolbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """With the namespaces, and the definitions of Dapr and of every operator whose objects we render."""
    programs = api_server_build.programs()
    if os.environ.get("DEPLOY_APISERVER") == "1":
        programs = api_server_build.build()
    elif not programs.are_there():
        pytest.skip("kube-apiserver is not built: DEPLOY_APISERVER=1 does it once, which takes minutes")
    with api_server(programs, box.kubectl, tmp_path_factory.mktemp("api-server")) as running:
        running.keep((ROOT / "k8s/base/namespace.yaml").read_text(encoding="utf-8"))
        monitoring = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MONITORING}}
        running.keep(yaml.safe_dump(monitoring))
        definitions = [*(box.dapr_chart / "crds").iterdir(), *box.definitions.iterdir()]
        running.keep("\n---\n".join(path.read_text(encoding="utf-8") for path in definitions))
        running.wait_for_definitions()
        yield running


@pytest.mark.parametrize("name", NAMES)
def test_the_server_takes_everything_rendered(
    server: ApiServer, rendered: Rendered, objects: Objects, name: str
) -> None:
    namespace = MONITORING if name == "observability" else NAMESPACE
    taken = server.dry_run(rendered(name), namespace).splitlines()
    assert len(taken) == len(objects(name))
    assert all(line.endswith("serverside-applied (server dry run)") for line in taken)


def _selects_no_label(one: Manifest) -> None:
    one["spec"]["selector"]["matchLabels"] = {"app.kubernetes.io/name": "nobody"}


def _listens_beyond(one: Manifest) -> None:
    one["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = 99999


def _asks_for_lots(one: Manifest) -> None:
    one["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "lots"


def _may_be_root(one: Manifest) -> None:
    del one["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]


@pytest.mark.parametrize(
    ("breaks", "sentence"),
    [
        (_selects_no_label, "`selector` does not match template `labels`"),
        (_listens_beyond, "must be between 1 and 65535"),
        (_asks_for_lots, "quantities must match the regular expression"),
        # The namespace warns of it (k8s/base/namespace.yaml), and refuses the pod.
        (_may_be_root, "runAsNonRoot != true"),
    ],
)
def test_the_server_refuses_what_cannot_run(
    server: ApiServer, objects: Objects, breaks: Callable[[Any], None], sentence: str
) -> None:
    deployment = copy.deepcopy(named(objects("chart-production"), "Deployment", "task-api"))
    server.dry_run(yaml.safe_dump(deployment))
    breaks(deployment)
    with pytest.raises(RefusedError, match=sentence):
        server.dry_run(yaml.safe_dump(deployment))


def test_the_server_refuses_a_component_that_dapr_does_not_know(server: ApiServer, objects: Objects) -> None:
    component = copy.deepcopy(named(objects("cluster-managed"), "Component", "pubsub"))
    component["spec"]["metadata"].append({"value": "of nothing"})
    with pytest.raises(RefusedError, match=r"spec.metadata\[[0-9]+\].name: Required value"):
        server.dry_run(yaml.safe_dump(component))
