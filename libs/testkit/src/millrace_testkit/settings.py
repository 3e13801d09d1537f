"""The one place of this package that reads the environment."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class GivenServers:
    """Servers that run already and are to be used instead of our own."""

    kafka: str | None
    postgres: str | None


def given_servers() -> GivenServers:
    """Read `MILLRACE_TEST_KAFKA` (host:port) and `MILLRACE_TEST_POSTGRES` (a SQLAlchemy URL)."""
    return GivenServers(
        kafka=os.environ.get("MILLRACE_TEST_KAFKA") or None,
        postgres=os.environ.get("MILLRACE_TEST_POSTGRES") or None,
    )


def clients_folder() -> Path:
    """Where tests keep the environments of other projects' clients: `MILLRACE_TEST_CLIENTS`, or .millrace/clients."""
    return Path(os.environ.get("MILLRACE_TEST_CLIENTS") or ".millrace/clients")
