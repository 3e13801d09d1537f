"""`up`, `down`, `status`: the local stack."""

from typing import Annotated

import typer

from millrace import status
from millrace.addresses import settings_of_the_stack
from millrace.output import Format, Output, print_json, say
from millrace.settings import load
from millrace.starting import start_detached
from millrace.supervisor.control import end_stack, running_stack
from millrace.supervisor.running import supervise

Only = Annotated[
    list[str] | None, typer.Option("--only", help="Only this program; may be given several times")
]
Detach = Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is ready")]
Timeout = Annotated[float, typer.Option(min=1, help="With --detach: seconds to wait at most")]


def up(only: Only = None, detach: Detach = False, timeout: Timeout = 180.0) -> None:
    """Start Kafka, the tracing UI and the services as local processes, and keep them running."""
    settings = load()
    stack = running_stack(settings)
    if stack is not None:
        say(f"The stack of {settings.home} runs already; `millrace status` shows it.")
        return
    end_stack(settings, say)  # what a killed supervisor left behind would hold the ports
    if not detach:
        supervise(settings, only or (), lambda program, what: say(f"{program} {what}"))
        return
    start_detached(settings, only or (), timeout=timeout, say=say)


def down() -> None:
    """End the stack, also what a killed supervisor left behind."""
    settings = load()
    ended = end_stack(settings, say)
    say(f"{ended} processes ended." if ended else f"Nothing of {settings.home} runs.")


def show_status(output: Output = Format.TABLE) -> None:
    """Processes, pipelines, champions, what drifts."""
    settings = settings_of_the_stack()
    report = status.collect(settings)
    if output is Format.JSON:
        print_json(report)
    else:
        status.render(report)


def add_to(app: typer.Typer) -> None:
    app.command()(up)
    app.command()(down)
    app.command("status")(show_status)
