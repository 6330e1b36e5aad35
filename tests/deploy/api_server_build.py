"""Builds kube-apiserver and etcd from Go modules, once per version, into the cache of `stack prepare`.

It takes some ten minutes on two busy cores; a test run with DEPLOY_APISERVER=1 does it.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from stack.command import run
from stack.daprd import go_environment, go_tool
from stack.filelock import locked
from stack.layout import cache_root
from stack.progress import Progress

KUBERNETES = "1.36.3"
ETCD = "3.6.8"
_STAGED = f"v0.{KUBERNETES.partition('.')[2]}"
"""Kubernetes' own libraries are published beside it under this version; its go.mod says v0.0.0 of each."""


@dataclass(frozen=True)
class ApiServerPrograms:
    """Where the programs are, or will be."""

    api_server: Path
    etcd: Path

    def are_there(self) -> bool:
        return self.api_server.is_file() and self.etcd.is_file()


def programs() -> ApiServerPrograms:
    """Their places in the cache; nothing is built."""
    cache = cache_root() / "deploy"
    return ApiServerPrograms(
        cache / f"kube-apiserver-{KUBERNETES}" / "kube-apiserver", cache / f"etcd-{ETCD}" / "etcd"
    )


def build() -> ApiServerPrograms:
    """Build what is missing. Raises MissingToolError without Go, StepFailedError when a step fails."""
    wanted = programs()
    cache = wanted.etcd.parents[1]
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "api-server-lock", waiting=lambda: None):
        if not wanted.etcd.is_file():
            _build_etcd(wanted.etcd)
        if not wanted.api_server.is_file():
            _build_api_server(wanted.api_server)
    return wanted


def _build_etcd(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parents[1]) as scratch:
        folder = Path(scratch)
        (folder / "go.mod").write_text(
            f"module build\n\ngo 1.26.0\n\nrequire go.etcd.io/etcd/server/v3 v{ETCD}\n", encoding="utf-8"
        )
        _compile(folder, "go.etcd.io/etcd/server/v3", target, "-s -w")


def _build_api_server(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parents[1]) as scratch:
        folder = Path(scratch)
        source = Path(
            json.loads(_go(folder, "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"))["Dir"]
        )
        (folder / "go.mod").write_text(
            _module((source / "go.mod").read_text(encoding="utf-8")), encoding="utf-8"
        )
        (folder / "go.sum").write_bytes((source / "go.sum").read_bytes())
        major, minor, _ = KUBERNETES.split(".")
        stamps = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor}
        words = [f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamps.items()]
        _compile(folder, "k8s.io/kubernetes/cmd/kube-apiserver", target, " ".join(["-s -w", *words]))


def _module(text: str) -> str:
    """A go.mod of our own with the requirements of Kubernetes' own, its libraries as they are published."""
    text = re.sub(r"^module .*$", "module build", text, count=1, flags=re.MULTILINE)
    text = re.sub(r"^replace \([^)]*\)|^replace .*$", "", text, flags=re.MULTILINE)
    staged = re.findall(r"^\s*(k8s\.io/\S+) v0\.0\.0(?=\s)", text, flags=re.MULTILINE)
    text = re.sub(r"^(\s*k8s\.io/\S+) v0\.0\.0(?=\s)", rf"\1 {_STAGED}", text, flags=re.MULTILINE)
    replacements = "".join(f"replace {name} => {name} {_STAGED}\n" for name in staged)
    return f"{text}\nrequire k8s.io/kubernetes v{KUBERNETES}\n\n{replacements}"


def _compile(folder: Path, package: str, target: Path, link: str) -> None:
    built = folder / target.name
    _go(folder, "build", "-trimpath", "-ldflags", link, "-o", str(built), package)
    target.parent.mkdir(exist_ok=True)
    built.replace(target)


def _go(folder: Path, *words: str) -> str:
    cache = cache_root()
    go = go_tool(cache, Progress(), threading.Event())
    return run(
        [str(go.path), *words],
        doing=f"go {' '.join(words)}",
        environment={**go_environment(cache), "GOFLAGS": "-buildvcs=false -mod=mod"},
        folder=folder,
    )
