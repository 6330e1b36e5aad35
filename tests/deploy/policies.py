"""What every object of ours keeps to, whoever renders it: each check gives sentences, none when all is well."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.deploy.rendering import Manifest, Pod, pods

_ONCE = {"Job", "CronJob", "Pod"}
"""They end by themselves: no probe asks whether they do."""
_PINNED = re.compile(r"[^:@]+(/[^:@]+)*(:[0-9]+/[^:@]+)?(:v?[0-9][^:@]*|@sha256:[0-9a-f]{64})")


def violations(objects: list[Manifest]) -> list[str]:
    """Everything that is wrong with these objects, as sentences."""
    found = [sentence for pod in pods(objects) for sentence in _pod(pod)]
    found += [
        f"{one['kind']} {one['metadata']['name']} holds secrets" for one in objects if one["kind"] == "Secret"
    ]
    found += _selectors(objects)
    return found


def _pod(pod: Pod) -> Iterator[str]:
    if pod.spec.get("automountServiceAccountToken") is not False:
        yield f"{pod.name} mounts a token of the API server"
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(flag):
            yield f"{pod.name} sets {flag}"
    security = pod.spec.get("securityContext", {})
    if security.get("runAsNonRoot") is not True or not security.get("runAsUser"):
        yield f"{pod.name} may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{pod.name} has no seccomp profile"
    mounted = {mount["name"] for one in pod.containers for mount in one.get("volumeMounts", [])}
    for volume in pod.spec.get("volumes", []):
        if "hostPath" in volume:
            yield f"{pod.name} mounts a folder of the node"
        if "emptyDir" in volume and not volume["emptyDir"].get("sizeLimit"):
            yield f"{pod.name} has a folder without a limit"
        if volume["name"] not in mounted and volume["name"] not in pod.annotations.get(
            "dapr.io/volume-mounts", ""
        ):
            yield f"{pod.name} mounts {volume['name']} nowhere"
    for container in pod.containers:
        yield from (f"{pod.name}, {container['name']}: {what}" for what in _container(container))
    by_hand = pod.owner["spec"].get("replicas") == 0
    if pod.owner["kind"] not in _ONCE and not by_hand:
        for container in pod.spec["containers"]:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                if probe not in container:
                    yield f"{pod.name}, {container['name']}: has no {probe}"


def _container(container: Manifest) -> Iterator[str]:
    if not _PINNED.fullmatch(container["image"]):
        yield f"its image {container['image']} has no fixed tag"
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False:
        yield "may gain privileges"
    if security.get("readOnlyRootFilesystem") is not True:
        yield "may write to its root"
    if security.get("capabilities", {}).get("drop") != ["ALL"] or security.get("capabilities", {}).get("add"):
        yield "has capabilities"
    if security.get("privileged") or security.get("runAsUser") == 0 or security.get("runAsNonRoot") is False:
        yield "is privileged"
    resources = container.get("resources", {})
    for bound in ("requests", "limits"):
        missing = {"cpu", "memory"} - resources.get(bound, {}).keys()
        if missing:
            yield f"has no {bound} of {' and '.join(sorted(missing))}"
    for entry in container.get("env", []):
        if "value" in entry and re.search(
            r"PASSWORD|TOKEN|SECRET|_KEYS?$|DATABASE_URL|REDIS_URL|SMTP_URL", entry["name"]
        ):
            yield f"carries {entry['name']} in the open"
    ports = [port["containerPort"] for port in container.get("ports", [])]
    names = {port.get("name") for port in container.get("ports", [])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        for handler in ("httpGet", "tcpSocket"):
            asked = container.get(probe, {}).get(handler, {}).get("port")
            if asked is not None and asked not in names and asked not in ports:
                yield f"{probe} asks a port {asked} that it does not have"


def _selectors(objects: list[Manifest]) -> Iterator[str]:
    """A Service, budget or workload whose selector fits no pod does nothing, and says so nowhere."""
    rendered = list(pods(objects))
    for one in objects:
        name, spec = f"{one['kind']} {one['metadata']['name']}", one.get("spec", {})
        match one["kind"]:
            case "Service":
                wanted = spec["selector"]
            case "PodDisruptionBudget" | "Deployment" | "StatefulSet":
                wanted = spec["selector"]["matchLabels"]
            case _:
                continue
        chosen = [pod for pod in rendered if wanted.items() <= pod.labels.items()]
        if one["kind"] in ("Deployment", "StatefulSet"):
            chosen = [pod for pod in chosen if pod.owner is one]
        if not chosen:
            yield f"{name} selects no pod"
        for port in spec.get("ports", []) if one["kind"] == "Service" else []:
            ports = [known for pod in chosen for box in pod.containers for known in box.get("ports", [])]
            target = port.get("targetPort", port["port"])
            if not any(target in (known.get("name"), known["containerPort"]) for known in ports):
                yield f"{name} leads to a port {target} that no pod has"
