"""A whole stack of its own: real Kafka, Zipkin and six processes on free ports, in a folder that goes away."""

import os
import subprocess
from collections.abc import Iterator

import pytest

from millrace_local.ports import free_ports
from millrace_testkit.stack import MILLRACE, PROGRAMS, Stack


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("stack")
    ports = {
        f"{name}_PORT": str(port)
        for name, port in zip(PROGRAMS, free_ports(len(PROGRAMS)), strict=True)
    }
    kept = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251  what a user's shell would hand on
        if name in ("PATH", "HOME", "LANG", "JAVA_HOME", "MILLRACE_JARS")
    }
    stack = Stack(
        home, kept | ports | {"MILLRACE_HOME": str(home), "OTEL_TRACES_SAMPLER_ARG": "0.05"}
    )
    try:
        stack.millrace("up", "--detach", "--timeout", 240)
        yield stack
    finally:
        subprocess.run(
            [str(MILLRACE), "down"],
            env=stack.environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
