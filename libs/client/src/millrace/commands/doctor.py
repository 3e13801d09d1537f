"""`doctor`: what is there, what is missing, and what to do about it."""

from typing import Annotated

import typer

from millrace.addresses import settings_of_the_stack
from millrace.checks import Check, checks_of
from millrace.errors import ClientError
from millrace.output import Format, Output, console, print_json


def doctor(
    output: Output = Format.TABLE,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only what a stack needs to start")
    ] = False,
) -> None:
    """Check this machine and the stack; exit code 1 when something is wrong."""
    checks = checks_of(settings_of_the_stack(), machine_only=quick)
    if output is Format.JSON:
        print_json([{"check": c.name, "ok": c.ok, "found": c.found, "fix": c.fix} for c in checks])
    else:
        for check in checks:
            console.print(_line(check), markup=False, style=None if check.ok else "red")
    failed = sum(not check.ok for check in checks)
    if failed:
        raise ClientError(f"{failed} of {len(checks)} checks failed")


def _line(check: Check) -> str:
    fix = "" if check.ok else f"; {check.fix}"
    return f"{'ok    ' if check.ok else 'failed'} {check.name}: {check.found}{fix}"


def add_to(app: typer.Typer) -> None:
    app.command()(doctor)
