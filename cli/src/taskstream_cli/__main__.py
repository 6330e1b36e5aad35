"""`taskstream`: what operators do by hand or from a job."""

from __future__ import annotations

import logging

import typer

from taskstream_cli import dlq, epoch, exporter, lockdown, outbox, rebuild, topics
from taskstream_cli.doctor.command import command as doctor

app = typer.Typer(
    name="taskstream", help="Operate a Taskstream installation.", no_args_is_help=True, add_completion=False
)
app.add_typer(topics.app, name="topics")
app.add_typer(dlq.app, name="dlq")
app.add_typer(outbox.app, name="outbox")
app.add_typer(epoch.app, name="epoch")
app.command("rebuild")(rebuild.command)
app.command("doctor")(doctor)
app.command("exporter")(exporter.command)
app.command("lockdown")(lockdown.command)


@app.callback()
def _taskstream() -> None:
    """Operate a Taskstream installation."""
    # What aiokafka says to its log is said in one sentence when a command fails of it (failing, kafka_login).
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())


def main() -> None:
    app()


if __name__ == "__main__":
    main()
