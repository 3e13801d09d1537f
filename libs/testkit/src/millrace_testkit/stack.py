"""A whole stack of its own, driven as a user would: by the `millrace` command, in another process."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = (
    "KAFKA",
    "KAFKA_CONTROLLER",
    "ZIPKIN",
    "REGISTRY",
    "INGESTION",
    "FEATURES",
    "SERVING",
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
