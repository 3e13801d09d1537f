"""What the command prints: tables for people, JSON for programs."""

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"


Output = Annotated[Format, typer.Option("--output", "-o", help="table or json")]


def say(text: str) -> None:
    """One line for people; brackets in it are text."""
    console.print(text, markup=False)


def print_json(value: object) -> None:
    """JSON as programs read it, whatever the terminal's width."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode())


def print_json_line(value: object) -> None:
    typer.echo(orjson.dumps(value, default=str).decode())


def show(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], output: Format) -> None:
    """Rows as a table of these columns (key -> title), or all that is known of them as JSON."""
    if output is Format.JSON:
        print_json(list(rows))
        return
    console.print(table(rows, columns))


def table(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], title: str | None = None
) -> Table:
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, heading in columns.items():
        numeric = all(isinstance(row.get(name), int | float) for row in rows) and bool(rows)
        made.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(cell(row.get(name)) for name in columns))
    return made


def cell(value: object) -> str:
    """A value as it stands in a table: short numbers, nothing for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return " ".join(f"{name}={cell(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(cell(each) for each in value)
    return str(value).replace("[", "\\[")


def number(value: float) -> str:
    """Four digits that matter: 18.33, 0.004211, 1234."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:.0f}"
