"""The `millrace` command. Exit codes: 0 done, 1 failed, 2 wrong usage; an error is one line, never a traceback."""

import sys
from collections.abc import Sequence

import typer

from millrace.commands import backtest, dlq, doctor, pipelines, replay, reproduce, stack, topics
from millrace.errors import ClientError, UsageError
from millrace.output import errors

app = typer.Typer(
    name="millrace",
    help="Closed-loop machine learning on Apache Kafka.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (stack, doctor, pipelines, replay, topics, dlq, backtest, reproduce):
    group.add_to(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        app(list(arguments) if arguments is not None else None, prog_name="millrace")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except ClientError as error:
        errors.print(f"millrace: {error}", markup=False, style="red")
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
