"""`taskstream`: what operators do by hand or from a job."""

from __future__ import annotations

import typer

from taskstream_cli import topics

app = typer.Typer(
    name="taskstream", help="Operate a Taskstream installation.", no_args_is_help=True, add_completion=False
)
app.add_typer(topics.app, name="topics")


@app.callback()
def _taskstream() -> None:
    """Operate a Taskstream installation."""


def main() -> None:
    app()


if __name__ == "__main__":
    main()
