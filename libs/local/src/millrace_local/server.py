"""What every server of this package says about itself; all that a supervisor needs to know."""

import signal
from typing import Protocol


class Server(Protocol):
    """A program that listens on 127.0.0.1."""

    @property
    def name(self) -> str:
        """What it is called in messages, e.g. `kafka`."""

    @property
    def run_as(self) -> str | None:
        """The user to run it as; None for our own."""

    @property
    def stop_signal(self) -> signal.Signals:
        """The signal upon which it ends soon and in order."""

    def prepare(self) -> None:
        """Do what is needed before the first start. Doing it again changes nothing."""

    def command(self) -> list[str]:
        """The command line that runs it in the foreground."""

    def environment(self) -> dict[str, str]:
        """What to add to the environment of the process."""

    def ready(self, timeout: float) -> bool:
        """Whether it answers a real request within `timeout` seconds; asks at least once."""
