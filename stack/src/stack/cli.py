"""The ``stack`` command."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from stack.errors import InterruptError, StackError
from stack.interrupts import signals_as_errors
from stack.ports import DEFAULT_INSTANCE
from stack.progress import Progress

if TYPE_CHECKING:
    from stack.instance import Instance

app = typer.Typer(
    name="stack",
    help="Runs all of Taskstream on this machine: PostgreSQL, Redis, Kafka, Dapr sidecars and the services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Name = Annotated[
    str, typer.Option("--instance", "-i", envvar="TASKSTREAM_INSTANCE", help="Which of several stacks.")
]
ProcessName = Annotated[
    str, typer.Argument(help="As `stack status` lists it, for example reminders or reminders.dapr.")
]


def _progress() -> Progress:
    return Progress(lambda line: print(line, flush=True))


def _stack(name: str, progress: Progress | None = None) -> Instance:
    # Loaded here, so that `stack prepare` and `stack --help` stay quick.
    from stack.instance import Instance

    return Instance(name, progress=progress)


@app.command()
def prepare() -> None:
    """Gets and builds what is missing on this machine; the second time there is nothing to do."""
    from stack.prepare import prepare as get

    progress = _progress()
    get(progress)
    print(f"Everything is there ({progress.elapsed():.1f} s).")


@app.command()
def up(
    instance: Name = DEFAULT_INSTANCE,
    only: Annotated[
        str, typer.Option(help="`infra`: PostgreSQL, Redis, Kafka and the mail sink alone.")
    ] = "",
    services: Annotated[str, typer.Option(help="These services only, with commas between.")] = "",
    replicas: Annotated[list[str] | None, typer.Option(help="For example reminders=2,notifier=3.")] = None,
    env: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE for every service; may be repeated.")
    ] = None,
    test_clock: Annotated[
        bool, typer.Option("--test-clock", help="Let tests move the services' clock.")
    ] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the instance's data first.")] = False,
    kafka_heap: Annotated[str, typer.Option(help="Kafka's memory, as Java writes it.")] = "384m",
) -> None:
    """Starts the stack and waits until every part is ready."""
    from stack.services import parse_replicas
    from stack.welcome import welcome

    if only not in ("", "infra"):
        raise StackError(f"--only knows `infra`, not {only!r}.")
    chosen: list[str] | None = [name.strip() for name in services.split(",") if name.strip()] or None
    progress = _progress()
    stack = _stack(instance, progress)
    stack.up(
        services=[] if only else chosen,
        replicas=parse_replicas(replicas or []),
        test_clock=test_clock,
        env=_pairs(env or []),
        fresh=fresh,
        kafka_heap=kafka_heap,
    )
    print(f"\nUp after {progress.elapsed():.1f} s.\n\n{welcome(stack)}")


@app.command()
def demo(instance: Name = DEFAULT_INSTANCE) -> None:
    """Plays the main flow against a running instance and prints each step with its time."""
    import asyncio

    from stack.demo import play

    stack = _stack(instance)
    if not stack.is_running("task-api"):
        raise StackError(f"Instance {instance} is not up: start it with `stack up --instance {instance}`.")
    asyncio.run(play(stack))


@app.command()
def down(
    instance: Name = DEFAULT_INSTANCE,
    wipe: Annotated[bool, typer.Option("--wipe", help="Delete the instance's data too.")] = False,
) -> None:
    """Stops everything; the data stays unless it is wiped."""
    progress = _progress()
    _stack(instance, progress).down(wipe=wipe)
    print(
        f"Instance {instance} is down{' and its data deleted' if wipe else ''} ({progress.elapsed():.1f} s)."
    )


@app.command()
def status(
    instance: Name = DEFAULT_INSTANCE,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Lists the processes with their state, memory and ports."""
    lines = _stack(instance).status()
    if as_json:
        print(json.dumps([{**vars(line), "ports": dict(line.ports)} for line in lines], indent=2))
        return
    if not lines:
        print(f"Instance {instance} has never been up.")
    for line in lines:
        memory = f"{line.memory / 1e6:5.0f} MB" if line.memory is not None else " " * 8
        ports = ", ".join(f"{use} {port}" for use, port in line.ports.items())
        print(f"{line.name:<20} {line.state:<8} {line.pid or '':>7} {memory}  {ports}")


@app.command()
def logs(
    name: ProcessName,
    instance: Name = DEFAULT_INSTANCE,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.")] = 100,
) -> None:
    """Prints what a process wrote."""
    path = _stack(instance).log(name)
    if not path.is_file():
        known = ", ".join(sorted(log.stem for log in path.parent.glob("*.log"))) or "none yet"
        raise StackError(f"Instance {instance} has no log of {name!r}; there are: {known}.")
    with path.open(errors="replace") as handle:
        print("".join(handle.readlines()[-lines:]), end="", flush=True)
        while follow:
            if more := handle.read():
                print(more, end="", flush=True)
            else:
                time.sleep(0.2)


@app.command()
def restart(name: ProcessName, instance: Name = DEFAULT_INSTANCE) -> None:
    """Stops one process in an orderly way and starts it anew."""
    _stack(instance, _progress()).restart(name)


@app.command()
def kill(name: ProcessName, instance: Name = DEFAULT_INSTANCE) -> None:
    """Ends one process at once (SIGKILL), as a crash would."""
    _stack(instance).kill(name)


@app.command()
def pause(name: ProcessName, instance: Name = DEFAULT_INSTANCE) -> None:
    """Freezes one process (SIGSTOP): it keeps its connections and answers nothing."""
    _stack(instance).pause(name)


@app.command()
def resume(name: ProcessName, instance: Name = DEFAULT_INSTANCE) -> None:
    """Lets a paused process go on (SIGCONT)."""
    _stack(instance).resume(name)


@app.command()
def mail(
    instance: Name = DEFAULT_INSTANCE,
    to: Annotated[str | None, typer.Option(help="Only mails to this address.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    wait: Annotated[float, typer.Option(help="Seconds to wait until there is one.")] = 0.0,
) -> None:
    """Prints the mails that the services sent, oldest first."""
    mails = _stack(instance).mail(to, wait=wait)
    if as_json:
        print(json.dumps([each.as_dict() for each in mails], indent=2))
    elif not mails:
        print(f"No mail{f' to {to}' if to else ''} yet.")
    for each in [] if as_json else mails:
        print(f"{each.received.isoformat(timespec='milliseconds')}  to {', '.join(each.to)}")
        print(f"Subject: {each.subject}\n")
        print(f"{each.text.strip() or each.html.strip()}\n\n{'-' * 72}")
    if wait and not mails:
        raise typer.Exit(1)


@app.command()
def env(
    service: Annotated[str | None, typer.Argument(help="A service, for its own settings.")] = None,
    instance: Name = DEFAULT_INSTANCE,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Prints addresses and tokens as shell variables: eval "$(stack env)"."""
    variables = _stack(instance).env(service)
    if as_json:
        print(json.dumps(variables, indent=2))
        return
    for key, value in variables.items():
        print(f"export {key}={shlex.quote(value)}")


@app.command()
def ports(
    instance: Name = DEFAULT_INSTANCE,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Prints which port is whose."""
    stack = _stack(instance)
    names = ["postgres", "redis", "kafka", "smtp", "exporter"]
    for service in stack.catalogue.services:
        names += [service.name, f"{service.name}.dapr"]
    addresses = {name: stack.address(name) for name in names}
    if as_json:
        print(json.dumps(addresses, indent=2))
        return
    for name, address in addresses.items():
        print(f"{name:<20} {address}")


@app.command(name="exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def execute(context: typer.Context, instance: Name = DEFAULT_INSTANCE) -> None:
    """Runs a command with the instance's addresses in its environment: stack exec -- COMMAND."""
    if not context.args:
        raise StackError("Say what to run: stack exec -- COMMAND.")
    environment = {**os.environ, **_stack(instance).env()}
    try:
        done = subprocess.run(context.args, env=environment, check=False)  # noqa: S603 - the user's own command
    except OSError as error:
        raise StackError(f"{context.args[0]} could not be run: {error.strerror}.") from error
    raise typer.Exit(done.returncode)


def main() -> None:
    """The console script: every expected failure is one message and exit code 1."""
    try:
        with signals_as_errors():
            app()
    except InterruptError:
        print("stack: interrupted", file=sys.stderr)
        sys.exit(130)
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        sys.exit(1)


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = {}
    for word in words:
        key, found, value = word.partition("=")
        if not (key and found):
            raise StackError(f"{word!r} is not KEY=VALUE.")
        pairs[key] = value
    return pairs


if __name__ == "__main__":
    main()
