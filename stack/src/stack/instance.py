"""One isolated stack on this machine: its processes, its data, its addresses."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from stack import identity, mail, processes, resources
from stack.command import run
from stack.errors import StackError
from stack.filelock import locked
from stack.layout import checked_name, checkout, state_root
from stack.ports import DEFAULT_INSTANCE, Ports
from stack.prepare import prepare
from stack.privatefile import write_private
from stack.processes import Process
from stack.progress import Progress
from stack.schedule import Step, run_steps
from stack.services import HOST, TASKSTREAM, Catalogue, Facts, checked_replicas, process_name
from stack.supervisor import Supervisor

INFRASTRUCTURE = ("postgres", "redis", "kafka", "smtp")
EXPORTER = "exporter"


@dataclass(frozen=True)
class Options:
    """What the last ``up`` asked for; a restart of one process uses the same."""

    services: tuple[str, ...] = ()
    replicas: dict[str, int] = field(default_factory=dict)
    test_clock: bool = False
    env: dict[str, str] = field(default_factory=dict)
    kafka_heap: str = "384m"


@dataclass(frozen=True)
class ProcessStatus:
    """One line of ``status``: memory in bytes, both None when it does not run."""

    name: str
    state: str
    pid: int | None
    memory: int | None
    ports: Mapping[str, int]


class Instance:
    """An instance by its name. Creating one starts nothing and touches nothing.

    The same name means the same ports, data and processes in every Python process, so an instance
    that ``stack up`` started can be used from a test, and the other way round.
    """

    def __init__(
        self,
        name: str = DEFAULT_INSTANCE,
        *,
        catalogue: Catalogue = TASKSTREAM,
        progress: Progress | None = None,
    ) -> None:
        self.name = checked_name(name)
        self.home = state_root() / name
        self.catalogue = catalogue
        self.ports = Ports.of(name)
        self._progress = progress or Progress()
        self._supervisor = Supervisor(self.home)

    # Starting and stopping

    def up(
        self,
        *,
        services: Iterable[str] | None = None,
        replicas: Mapping[str, int] | None = None,
        test_clock: bool = False,
        env: Mapping[str, str] | None = None,
        fresh: bool = False,
        kafka_heap: str = "384m",
    ) -> Instance:
        """Starts what is not running, and starts anew what runs with other settings; returns itself.

        ``services`` are all of them by default; an empty list means the infrastructure alone. ``env``
        goes to every service, on top of its settings. ``fresh`` deletes the data first. When it
        fails or is interrupted, whatever this call started is stopped again.
        """
        names = (
            tuple(service.name for service in self.catalogue.services)
            if services is None
            else tuple(services)
        )
        options = Options(
            services=tuple(self.catalogue.named(name).name for name in names),
            replicas=checked_replicas(self.catalogue, replicas or {}),
            test_clock=test_clock,
            env=dict(env or {}),
            kafka_heap=kafka_heap,
        )
        with self._lock():
            if fresh:
                self._stop_everything()
                self._wipe()
            self._make_home()
            wanted = self._processes(options)
            write_private(self.home / "options.json", json.dumps(asdict(options), indent=2) + "\n")
            self._start(wanted, options)
        return self

    def down(self, *, wipe: bool = False) -> None:
        """Stops every process of this instance; with ``wipe`` its data is deleted too."""
        if not self.home.exists():
            return
        with self._lock():
            self._stop_everything()
            if wipe:
                self._wipe()

    def restart(self, name: str) -> None:
        """Stops and starts one process with the present settings, and waits until it is ready."""
        with self._lock():
            process = self._known(name)
            self._supervisor.stop(name)
            self._supervisor.check_ports([process], self.name)
            self._begin(process, threading.Event())

    def kill(self, name: str) -> None:
        """SIGKILL to one process and its children."""
        self._supervisor.kill(name)

    def abort(self, name: str) -> None:
        """SIGQUIT: PostgreSQL's immediate shutdown, after which it recovers from its log at the next start."""
        self._supervisor.abort(name)

    def stop(self, name: str) -> None:
        """Stops one process in an orderly way; ``restart`` brings it back."""
        with self._lock():
            if name not in self._names():
                raise self._unknown(name)
            self._supervisor.stop(name)

    def pause(self, name: str) -> None:
        """SIGSTOP: it keeps its connections and ports and answers nothing."""
        self._supervisor.pause(name)

    def resume(self, name: str) -> None:
        """SIGCONT after ``pause``."""
        self._supervisor.resume(name)

    # Asking

    def is_running(self, name: str) -> bool:
        return self._supervisor.find(name) is not None

    def status(self) -> list[ProcessStatus]:
        """Every process that the last ``up`` wanted, or that still runs."""
        if not (self.home / "options.json").exists():
            return []
        return [self._status(name) for name in self._names()]

    @property
    def options(self) -> Options:
        """What the last ``up`` asked for."""
        try:
            stored = json.loads((self.home / "options.json").read_text())
        except FileNotFoundError:
            return Options()
        return Options(**{**stored, "services": tuple(stored["services"])})

    def log(self, name: str) -> Path:
        """The file with all that a process printed."""
        return self._supervisor.log(name)

    def mail(self, to: str | None = None, *, wait: float = 0.0, at_least: int = 1) -> list[mail.Mail]:
        """The mails in the sink, oldest first; waits up to ``wait`` seconds for ``at_least`` of them."""
        return mail.read(self.mail_folder, to=to, wait=wait, at_least=at_least)

    @property
    def mail_folder(self) -> Path:
        return self.home / "mail"

    # Addresses and secrets

    @property
    def identity(self) -> identity.Identity:
        """The instance's secrets, made on first use."""
        self._make_home()
        return identity.load_or_create(self.home / "identity.json")

    @property
    def facts(self) -> Facts:
        return Facts(self.ports, self.identity)

    @property
    def database_url(self) -> str:
        return self.facts.database_url

    @property
    def redis_url(self) -> str:
        return self.facts.redis_url

    @property
    def kafka_bootstrap(self) -> str:
        """``host:port`` of the broker."""
        return self.facts.kafka_bootstrap

    @property
    def smtp_url(self) -> str:
        return self.facts.smtp_url

    @property
    def app_api_token(self) -> str:
        return self.identity.app_api_token

    @property
    def dapr_api_token(self) -> str:
        return self.identity.dapr_api_token

    def app_url(self, service: str, replica: int = 1) -> str:
        """Where a replica itself answers, ``http://host:port``."""
        return f"http://{HOST}:{self.ports.replica(self.catalogue.index(service), replica).app}"

    def dapr_url(self, service: str, replica: int = 1) -> str:
        """Where a replica's sidecar answers, ``http://host:port``."""
        return f"http://{HOST}:{self.ports.replica(self.catalogue.index(service), replica).dapr_http}"

    def address(self, name: str) -> str:
        """``host:port`` of a process by its name; of a sidecar its HTTP port."""
        fixed = {
            "postgres": self.ports.postgres,
            "redis": self.ports.redis,
            "kafka": self.ports.kafka,
            "smtp": self.ports.smtp,
            EXPORTER: self.ports.exporter,
        }
        if name in fixed:
            return f"{HOST}:{fixed[name]}"
        owner = name.removesuffix(".dapr")
        for index, service in enumerate(self.catalogue.services):
            for replica in range(1, 5):
                if owner == process_name(service.name, replica):
                    ports = self.ports.replica(index, replica)
                    return f"{HOST}:{ports.dapr_http if name.endswith('.dapr') else ports.app}"
        raise StackError(f"There is no process {name!r}.")

    def env(self, service: str | None = None, replica: int = 1) -> dict[str, str]:
        """The settings of a service's replica; without a service, the addresses of everything."""
        if service is not None:
            options = self.options
            return processes.service_environment(
                self.catalogue.named(service),
                self.catalogue.index(service),
                replica,
                self.facts,
                test_clock=options.test_clock,
                extra=options.env,
            )
        addresses = {
            "TASKSTREAM_INSTANCE": self.name,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "KAFKA_BOOTSTRAP": self.kafka_bootstrap,
            "SMTP_URL": self.smtp_url,
            "DAPR_API_TOKEN": self.dapr_api_token,
            "APP_API_TOKEN": self.app_api_token,
        }
        if self.catalogue.exporter_command:
            addresses["EXPORTER_URL"] = f"http://{self.address(EXPORTER)}"
        for service_ in self.catalogue.services:
            prefix = service_.name.upper().replace("-", "_")
            addresses[f"{prefix}_URL"] = self.app_url(service_.name)
            addresses[f"{prefix}_DAPR_URL"] = self.dapr_url(service_.name)
        return addresses

    # Inside

    def _processes(self, options: Options) -> list[Process]:
        """All processes that these options mean, in an order in which they could start."""
        tools = prepare(self._progress)
        facts, home = self.facts, self.home
        otlp = options.env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        files = resources.write(home, facts, otlp_endpoint=otlp)
        result = [
            processes.postgres(tools, home, facts),
            processes.redis(tools, home, facts),
            processes.kafka(tools, home, facts, heap=options.kafka_heap),
            processes.smtp(home, facts),
        ]
        if options.services and self.catalogue.exporter_command:
            topics = bool(self.catalogue.topics_command)
            result.append(processes.exporter(self.catalogue.exporter_command, home, facts, topics=topics))
        for name in options.services:
            service, index = self.catalogue.named(name), self.catalogue.index(name)
            for replica in range(1, options.replicas.get(name, 1) + 1):
                settings = processes.service_environment(
                    service, index, replica, facts, test_clock=options.test_clock, extra=options.env
                )
                result += [
                    processes.app(service, index, replica, home, facts, settings),
                    processes.sidecar(
                        tools,
                        service,
                        index,
                        replica,
                        home,
                        facts,
                        components=checkout() / "components",
                        resources=files,
                        topics=bool(self.catalogue.topics_command),
                    ),
                ]
        return result

    def _start(self, wanted: Sequence[Process], options: Options) -> None:
        supervisor = self._supervisor
        begun: list[str] = []
        missing = []
        for process in wanted:
            if supervisor.find(process.name) is None:
                missing.append(process)
            elif not supervisor.is_current(process):
                self._progress.line(f"{process.name}: runs with other settings, starting it anew")
                supervisor.stop(process.name)
                missing.append(process)
        superfluous = sorted(set(supervisor.names()) - {process.name for process in wanted})
        if superfluous:
            self._progress.line(f"stopping what is not asked for: {', '.join(superfluous)}")
            supervisor.stop_all(superfluous)
        supervisor.check_ports(missing, self.name)

        def begin(process: Process) -> Callable[[threading.Event], None]:
            def action(cancelled: threading.Event) -> None:
                begun.append(process.name)
                self._begin(process, cancelled)

            return action

        steps = [Step(process.name, process.after, begin(process)) for process in missing]
        steps += self._jobs(options, {process.name for process in missing})
        try:
            run_steps(steps)
        except BaseException:
            # An interrupted start leaves nothing of its own behind, and what ran before it runs on.
            self._progress.line("stopping what was started")
            supervisor.stop_all(begun)
            raise

    def _begin(self, process: Process, cancelled: threading.Event) -> None:
        begun = self._progress.elapsed()
        self._supervisor.start(process)
        self._supervisor.await_ready(process, cancelled)
        self._progress.line(f"{process.name}: ready after {self._progress.elapsed() - begun:.1f} s")

    def _jobs(self, options: Options, missing: set[str]) -> list[Step]:
        """What is done once between the start of the infrastructure and that of the services."""
        jobs: list[Step] = []
        if not options.services:
            return jobs
        if self.catalogue.topics_command and any(name.endswith(".dapr") for name in missing):
            command = [*self.catalogue.topics_command, "--bootstrap", self.kafka_bootstrap]
            environment = {**processes.passed_on(), "KAFKA_BOOTSTRAP": self.kafka_bootstrap}
            jobs.append(self._job("topics", frozenset({"kafka"}), command, environment))
        for name in options.services:
            service = self.catalogue.named(name)
            if service.migrate and any(process_name(name, replica) in missing for replica in range(1, 5)):
                command = [sys.executable, "-m", service.module, "migrate"]
                environment = {**processes.passed_on(), **self.env(name)}
                jobs.append(self._job(f"{name}.migrate", frozenset({"postgres"}), command, environment))
        return jobs

    def _job(
        self, name: str, after: frozenset[str], command: Sequence[str], environment: Mapping[str, str]
    ) -> Step:
        def action(cancelled: threading.Event) -> None:
            begun = self._progress.elapsed()
            run(
                command,
                doing=name,
                environment=environment,
                folder=self.home,
                cancelled=cancelled,
                timeout=300,
            )
            self._progress.line(f"{name}: done in {self._progress.elapsed() - begun:.1f} s")

        return Step(name, after, action)

    def _names(self) -> list[str]:
        """What the last ``up`` wanted, and what has a pid file besides."""
        options = self.options
        names = list(INFRASTRUCTURE)
        if options.services and self.catalogue.exporter_command:
            names.append(EXPORTER)
        for service in options.services:
            for replica in range(1, options.replicas.get(service, 1) + 1):
                name = process_name(service, replica)
                names += [name, f"{name}.dapr"]
        return names + [name for name in self._supervisor.names() if name not in names]

    def _known(self, name: str) -> Process:
        for process in self._processes(self.options):
            if process.name == name:
                return process
        raise self._unknown(name)

    def _unknown(self, name: str) -> StackError:
        return StackError(f"Instance {self.name} has no process {name!r}; it has {', '.join(self._names())}.")

    def _status(self, name: str) -> ProcessStatus:
        process, ports = self._supervisor.find(name), self._supervisor.ports(name)
        try:
            if process is not None:
                state = "paused" if process.status() == psutil.STATUS_STOPPED else "running"
                return ProcessStatus(name, state, process.pid, process.memory_info().rss, ports)
        except psutil.NoSuchProcess:
            # It ended between the questions.
            return ProcessStatus(name, "stopped", None, None, ports)
        return ProcessStatus(name, "stopped", None, None, ports)

    def _stop_everything(self) -> None:
        self._supervisor.stop_all(self._supervisor.names())

    def _make_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        # PostgreSQL's user has to pass through; what is secret has its own mode.
        self.home.chmod(0o711)

    def _wipe(self) -> None:
        if self.home.exists():
            shutil.rmtree(self.home)

    def _lock(self) -> AbstractContextManager[None]:
        # Beside the folder, not in it: a wipe must not take the lock away.
        return locked(
            state_root() / f".{self.name}.lock",
            waiting=lambda: self._progress.line(
                f"waiting: instance {self.name} is being started or stopped elsewhere"
            ),
        )
