"""A real API server on an etcd of its own, for what only it finds: it holds each field to what the others say.

No node is behind it: nothing that it takes is run.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.deploy.api_server_build import ApiServerPrograms
from tests.deploy.rendering import NAMESPACE, run

from stack.ports import free_ports

_READY_SECONDS = 120


@dataclass(frozen=True)
class ApiServer:
    """How kubectl reaches it: `options` stand before every command."""

    kubectl: Path
    options: tuple[str, ...]

    def dry_run(self, text: str, namespace: str = NAMESPACE) -> str:
        """What the server makes of these objects, which it does not keep. Raises RefusedError; a warning is one."""
        return self._apply(text, "--dry-run=server", "--namespace", namespace, "--warnings-as-errors")

    def keep(self, text: str) -> None:
        """Make these objects in earnest. Raises RefusedError."""
        self._apply(text)

    def wait_for_definitions(self) -> None:
        """Return once every definition that was made is served."""
        self._run(
            "wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinitions", "--all"
        )

    def _apply(self, text: str, *words: str) -> str:
        return self._run("apply", "--server-side", "-f", "-", *words, stdin=text)

    def _run(self, *words: str, stdin: str = "") -> str:
        return run(self.kubectl, *self.options, *words, stdin=stdin)


@contextmanager
def api_server(programs: ApiServerPrograms, kubectl: Path, folder: Path) -> Iterator[ApiServer]:
    """The server, once it is ready; its data lies in `folder`."""
    etcd, peer, port = free_ports(3)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f"{token},tests,tests,system:masters\n", encoding="utf-8")
    key = folder / "service-accounts.pem"
    key.write_bytes(
        rsa.generate_private_key(65537, 2048).private_bytes(
            Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
        )
    )
    store = {
        "data-dir": folder / "etcd",
        "listen-client-urls": f"http://127.0.0.1:{etcd}",
        "advertise-client-urls": f"http://127.0.0.1:{etcd}",
        "listen-peer-urls": f"http://127.0.0.1:{peer}",
        "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
        "initial-cluster": f"default=http://127.0.0.1:{peer}",
        "unsafe-no-fsync": "true",
    }
    server = {
        "etcd-servers": f"http://127.0.0.1:{etcd}",
        "bind-address": "127.0.0.1",
        "secure-port": port,
        "cert-dir": folder / "certificates",
        "token-auth-file": folder / "tokens.csv",
        "authorization-mode": "RBAC",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": key,
        "service-account-signing-key-file": key,
        "service-cluster-ip-range": "10.0.0.0/24",
        # No controller makes the accounts that a pod of a dry run names.
        "disable-admission-plugins": "ServiceAccount",
    }
    address = f"https://127.0.0.1:{port}"
    with (
        _running(programs.etcd, store, folder / "etcd.log"),
        _running(programs.api_server, server, folder / "kube-apiserver.log") as process,
    ):
        certificate = folder / "certificates/apiserver.crt"
        options = (
            "--kubeconfig=/dev/null", f"--cache-dir={folder / 'kubectl'}", f"--server={address}",
            f"--certificate-authority={certificate}", f"--token={token}",
        )  # fmt: skip
        made = ApiServer(kubectl, options)
        _await_ready(made, process, folder / "kube-apiserver.log")
        yield made


def _await_ready(server: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while subprocess.run(
        [str(server.kubectl), *server.options, "get", "--raw", "/readyz"], capture_output=True, check=False
    ).returncode:
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        time.sleep(0.2)


@contextmanager
def _running(program: Path, options: dict[str, object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    words = [f"--{name}={value}" for name, value in options.items()]
    with log.open("wb") as output:
        process = subprocess.Popen([str(program), *words], stdout=output, stderr=output, cwd=log.parent)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
