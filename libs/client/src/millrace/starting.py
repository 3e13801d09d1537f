"""`millrace up --detach`: a supervisor in the background, and the wait until its stack does its work."""

from collections.abc import Callable, Collection

from millrace.errors import ClientError
from millrace.settings import Settings
from millrace.supervisor import control, plan
from millrace_local.errors import LocalServerError


def start_detached(
    settings: Settings, only: Collection[str], *, timeout: float, say: Callable[[str], None]
) -> None:
    """Return when every program is ready; tells of each as it gets there. Raises ClientError."""
    names = plan.names_of(settings, only)
    plan.refuse_taken_ports(settings, names)  # said here at once rather than found in a log
    try:
        programs = plan.programs(settings, names)  # fetches jars where they are missing
    except LocalServerError as error:
        raise ClientError(str(error)) from error
    supervisor = control.launch(settings, only)
    addresses = {program.name: program.address for program in programs}

    def tell(name: str, seconds: float) -> None:
        say(f"  {name:<11} ready after {seconds:4.1f} s   {addresses[name]}")

    control.wait_ready(settings, supervisor, programs, timeout=timeout, became_ready=tell)
