"""`taskstream dlq`: look at dead letters, give them to their consumer once more, or be done with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import httpx
import typer

from event_contracts.topics import SERVICES
from taskstream_cli.failing import Unable, fail, run
from taskstream_cli.letters import DeadLetter, Handled, LetterBox, Notes
from taskstream_cli.places import LOCAL_KAFKA, Bootstrap, known_service, service_url
from taskstream_cli.replay import NotTaken, replay
from taskstream_cli.spans import span

app = typer.Typer(help="Events that a consumer could not handle.", no_args_is_help=True)

Service = Annotated[str | None, typer.Option("--service", "-s", help="Only those of this consumer.")]
Names = Annotated[list[str] | None, typer.Argument(help="Letters as `list` names them, reminders/17.")]
Name = Annotated[str, typer.Argument(help="A letter as `list` names it, reminders/17.")]
Everything = Annotated[bool, typer.Option("--all", help="All that wait, of --service if it is given.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Reason = Annotated[str, typer.Option("--reason", help="Why it is not needed; it is kept.")]
Token = Annotated[
    str, typer.Option("--token", envvar="APP_API_TOKEN", help="The app token of the consumer.", prompt=True)
]


async def waiting_letters(bootstrap: str, service: str | None = None) -> list[DeadLetter]:
    """The letters nothing was done about, the oldest first. Raises KafkaError, Unable."""
    services = SERVICES if service is None else (known_service(service),)
    async with LetterBox(bootstrap, services) as box:
        await box.refresh()
        return box.waiting


async def _find(bootstrap: str, name: str) -> tuple[DeadLetter, Handled | None]:
    async with LetterBox(bootstrap, (known_service(name.partition("/")[0]),)) as box:
        await box.refresh()
        found = box.find(name)
    if found is None:
        raise Unable(f"There is no dead letter {name}: `taskstream dlq list` names those that wait.")
    return found


async def _chosen(
    bootstrap: str, names: Sequence[str], service: str | None, everything: bool
) -> list[DeadLetter]:
    if bool(names) == everything:
        raise Unable("Name the letters, or say --all.")
    waiting = await waiting_letters(bootstrap, service)
    if everything:
        return waiting
    by_name = {letter.name: letter for letter in waiting}
    for name in names:
        if name not in by_name:
            _, handled = await _find(bootstrap, name)
            done = "is of another service" if handled is None else f"was {handled.outcome} at {handled.at}"
            raise Unable(f"{name} {done}: nothing was done.")
    return [by_name[name] for name in names]


@app.command("list")
def list_letters(
    bootstrap: Bootstrap = LOCAL_KAFKA, service: Service = None, as_json: AsJson = False
) -> None:
    """Print the dead letters that nothing was done about, the oldest first."""
    letters = run(waiting_letters(bootstrap, service))
    now = datetime.now(UTC)
    for letter in letters:
        if as_json:
            typer.echo(json.dumps(_described(letter, now)))
        else:
            typer.echo(
                f"{letter.name:16} {span(now - letter.parked_at):>6}  {letter.topic:26} "
                f"{letter.attribute('id') or '-':36}  {letter.reason()}"
            )
    if not letters and not as_json:
        typer.echo("no dead letters")


@app.command()
def show(name: Name, bootstrap: Bootstrap = LOCAL_KAFKA) -> None:
    """Print a dead letter: where it came from, why it is here, what was done about it, and the event."""
    letter, handled = run(_find(bootstrap, name))
    for label, value in _described(letter, datetime.now(UTC)).items():
        typer.echo(f"{label.replace('_', ' '):14} {value}")
    if handled is not None:
        typer.echo(
            f"{handled.outcome:14} {handled.at}" + (f", because {handled.reason}" if handled.reason else "")
        )
    typer.echo(_readable(letter.event))


@app.command("replay")
def replay_letters(
    token: Token,
    names: Names = None,
    bootstrap: Bootstrap = LOCAL_KAFKA,
    service: Service = None,
    everything: Everything = False,
) -> None:
    """Give dead letters to the consumer that failed, and to no other. Those it takes are done with."""
    failed = run(_replay(bootstrap, names or [], service, everything, token))
    if failed:
        fail(f"{failed} not taken: mend the cause and replay them again, or discard them.")


async def _replay(
    bootstrap: str, names: Sequence[str], service: str | None, everything: bool, token: str
) -> int:
    """How many were not taken."""
    letters = await _chosen(bootstrap, names, service, everything)
    failed = 0
    async with Notes(bootstrap) as notes:
        for letter in letters:
            async with httpx.AsyncClient(base_url=service_url(letter.service), trust_env=False) as client:
                try:
                    await replay(client, letter, token)
                except NotTaken as refusal:
                    failed += 1
                    typer.echo(f"{letter.name}: not taken: {refusal}")
                    continue
            # Before the note a crash means one more replay, which changes nothing.
            await notes.write(letter, "replayed")
            typer.echo(f"{letter.name}: taken")
    return failed


@app.command()
def discard(
    reason: Reason,
    names: Names = None,
    bootstrap: Bootstrap = LOCAL_KAFKA,
    service: Service = None,
    everything: Everything = False,
) -> None:
    """Be done with dead letters without replaying them. `show` still shows them until Kafka deletes them."""
    if not reason.strip():
        fail("Say why with --reason.")
    for letter in run(_discard(bootstrap, names or [], service, everything, reason.strip())):
        typer.echo(f"{letter.name}: discarded")


async def _discard(
    bootstrap: str, names: Sequence[str], service: str | None, everything: bool, reason: str
) -> list[DeadLetter]:
    letters = await _chosen(bootstrap, names, service, everything)
    async with Notes(bootstrap) as notes:
        for letter in letters:
            await notes.write(letter, "discarded", reason)
    return letters


def _described(letter: DeadLetter, now: datetime) -> dict[str, str]:
    published = letter.published_at
    return {
        "name": letter.name,
        "consumer": letter.service,
        "parked_at": letter.parked_at.isoformat(timespec="milliseconds"),
        "age": span(now - letter.parked_at),
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.source_offset,
        "key": letter.key,
        "published_at": "" if published is None else published.isoformat(timespec="milliseconds"),
        "event_id": letter.attribute("id"),
        "correlation_id": letter.attribute("correlationid"),
        "reason": letter.reason(),
    }


def _readable(event: bytes) -> str:
    try:
        return json.dumps(json.loads(event), indent=2, ensure_ascii=False)
    except ValueError:
        return event.decode(errors="backslashreplace")
