"""Runs the supervisor in this process: what `millrace up` does, in the foreground or detached."""

import asyncio
from collections.abc import Collection

from millrace.errors import ClientError
from millrace.settings import Settings
from millrace.supervisor import plan
from millrace.supervisor.keeper import Report
from millrace.supervisor.lock import only_supervisor
from millrace.supervisor.supervisor import Supervisor
from millrace_kernel.clock import SystemClock
from millrace_local.errors import LocalServerError


def supervise(settings: Settings, only: Collection[str], report: Report) -> None:
    """Keep the stack up until SIGTERM or SIGINT. Raises ClientError for what a person has to mend."""
    names = plan.names_of(settings, only)
    with only_supervisor(settings.home):
        try:
            plan.refuse_taken_ports(settings, names)
            supervisor = Supervisor(
                plan.programs(settings, names),
                home=settings.home,
                bootstrap=settings.bootstrap,
                tracing_ui=f"{settings.zipkin}/zipkin/" if settings.runs_zipkin else None,
                clock=SystemClock(),
                report=report,
            )
            asyncio.run(supervisor.run())
        except LocalServerError as error:
            raise ClientError(str(error)) from error
