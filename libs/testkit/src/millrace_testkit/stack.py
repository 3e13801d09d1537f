"""A whole stack of its own, driven as a user would: by the `millrace` command, in another process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace_local.ports import free_ports

PROGRAMS = (
    "KAFKA",
    "KAFKA_CONTROLLER",
    "ZIPKIN",
    "REGISTRY",
    "INGESTION",
    "FEATURES",
    "SERVING",
    "SERVING_GRPC",
    "TRAINING",
    "MONITORING",
)
MILLRACE = Path(sys.executable).with_name("millrace")


@dataclass(frozen=True)
class Stack:
    home: Path
    environment: Mapping[str, str]

    def millrace(
        self, *arguments: object, timeout: float = 240
    ) -> subprocess.CompletedProcess[str]:
        """Run the command as a user would; its output stands in the failure when it fails."""
        command = [str(MILLRACE), *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, (
            f"{' '.join(command)}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        )
        return done

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [str(MILLRACE), *map(str, arguments)]
        return subprocess.Popen(
            command,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.environment[f'{service.upper()}_PORT']}"

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.environment['KAFKA_PORT']}"

    def process(self, name: str) -> dict[str, object]:
        stack = json.loads((self.home / "stack.json").read_text())
        return next(process for process in stack["processes"] if process["name"] == name)

    def logs(self, lines: int = 15) -> str:
        """The end of every log: what one wants to see first when a stack misbehaves."""
        folder = self.home / "logs"
        tails = [
            f"== {path.name}\n" + "\n".join(path.read_text().splitlines()[-lines:])
            for path in sorted(folder.glob("*.log"))
        ]
        return "\n".join(tails)


@contextmanager
def own_stack(home: Path, settings: Mapping[str, str]) -> Iterator[Stack]:
    """Real Kafka, Zipkin and six processes on free ports, in a folder that goes away; `settings` are for all of them."""
    ports = {
        f"{name}_PORT": str(port)
        for name, port in zip(PROGRAMS, free_ports(len(PROGRAMS)), strict=True)
    }
    kept = {
        name: value
        for name, value in os.environ.items()  # noqa: TID251  what a user's shell would hand on
        if name in ("PATH", "HOME", "LANG", "JAVA_HOME", "MILLRACE_JARS")
    }
    stack = Stack(home, kept | ports | {"MILLRACE_HOME": str(home)} | dict(settings))
    try:
        stack.millrace("up", "--detach", "--timeout", 400, timeout=420)
        yield stack
    finally:
        subprocess.run(
            [str(MILLRACE), "down"],
            env=stack.environment,
            capture_output=True,
            timeout=120,
            check=False,
        )
