"""What Helm and kustomize make of helm/taskstream and k8s/, and the pods in it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.deploy.toolbox import Toolbox

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/taskstream"
OVERLAYS = ("minikube", "staging", "production", "managed")
NAMESPACE = "todo"
MONITORING = "monitoring"
API_SERVER = "203.0.113.7/32"
_CLUSTER = ("--set", f"networkPolicy.kubernetesApi.cidrs={{{API_SERVER}}}")
"""What no file of values can know of somebody's cluster."""
VALUES: dict[str, tuple[str, ...]] = {
    "minikube": ("-f", f"{CHART}/values-minikube.yaml"),
    "staging": ("-f", f"{CHART}/values-staging.yaml", *_CLUSTER),
    "production": ("-f", f"{CHART}/values-production.yaml", *_CLUSTER),
    "managed": ("-f", f"{CHART}/values-production.yaml", "-f", f"{CHART}/values-managed.yaml", *_CLUSTER),
}
"""What goes with each overlay."""
SWITCHES = (*_CLUSTER, "--set", "keda.enabled=true,keda.authentication=kafka,liveCode=true")
"""What no file of values turns on."""

Manifest = dict[str, Any]


class RefusedError(Exception):
    """A program refused what it was given; the text is what it said."""


@dataclass(frozen=True)
class Pod:
    """One pod template: `owner` is the object that it is in."""

    owner: Manifest
    metadata: Manifest
    spec: Manifest

    @property
    def name(self) -> str:
        return f"{self.owner['kind']} {self.owner['metadata']['name']}"

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.metadata.get("labels", {})
        return found

    @property
    def annotations(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.metadata.get("annotations", {})
        return found

    @property
    def containers(self) -> list[Manifest]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def run(*words: str | Path, stdin: str = "") -> str:
    """What the program printed. Raises RefusedError."""
    done = subprocess.run(
        [str(word) for word in words], input=stdin, capture_output=True, text=True, timeout=120
    )
    if done.returncode:
        raise RefusedError(f"{done.stdout}\n{done.stderr}")
    return done.stdout


def helm_template(box: Toolbox, *options: str) -> str:
    return run(box.helm, "template", "taskstream", CHART, "--namespace", NAMESPACE, *options)


def kustomize(box: Toolbox, folder: str) -> str:
    return run(box.kubectl, "kustomize", ROOT / folder)


def validate(box: Toolbox, text: str) -> str:
    """Compare with the schemas of Kubernetes and each definition; a kind without one is refused (RefusedError)."""
    location = f"{box.schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    return run(box.kubeconform, "-strict", "-summary", "-schema-location", location, "-", stdin=text)


def parse(text: str) -> list[Manifest]:
    return [one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one]


def named(objects: Iterable[Manifest], kind: str, name: str) -> Manifest:
    """The one object of that kind and name."""
    (found,) = (one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def pods(objects: Iterable[Manifest]) -> Iterator[Pod]:
    for one in objects:
        match one:
            case {"kind": "Pod", "metadata": metadata, "spec": spec}:
                yield Pod(one, metadata, spec)
            case {"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": template}}}}:
                yield Pod(one, template.get("metadata", {}), template["spec"])
            case {"spec": {"template": {"spec": {"containers": _} as spec} as template}}:
                yield Pod(one, template.get("metadata", {}), spec)


def environment(pod: Pod, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What the app's container finds in its environment, its secrets being these."""
    found = {}
    for entry in pod.spec["containers"][0]["env"]:
        place = entry.get("valueFrom", {}).get("secretKeyRef")
        if place is None:
            found[entry["name"]] = entry["value"]
        elif value := secrets[place["name"]].get(place["key"]):
            found[entry["name"]] = value
        else:
            assert place.get("optional"), place
    return found


def secret_places(objects: Iterable[Manifest], *, optional: bool = True) -> set[tuple[str, str]]:
    """Every secret and key that pods and Dapr's components name; without those that may be missing on request."""
    found = set()
    for pod in pods(objects):
        for container in pod.containers:
            for entry in container.get("env", []):
                place = entry.get("valueFrom", {}).get("secretKeyRef")
                if place and (optional or not place.get("optional")):
                    found.add((place["name"], place["key"]))
        for annotation in ("dapr.io/api-token-secret", "dapr.io/app-token-secret"):
            if annotation in pod.annotations:
                found.add((pod.annotations[annotation], "token"))
    for one in objects:
        if one["apiVersion"] == "dapr.io/v1alpha1":
            found |= {
                (item["secretKeyRef"]["name"], item["secretKeyRef"]["key"])
                for item in one["spec"].get("metadata", [])
                if "secretKeyRef" in item
            }
    return found
