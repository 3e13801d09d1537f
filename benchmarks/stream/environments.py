"""The peers' environments: one venv each, made from the committed pins when it isn't there.

The pins (`requirements/<name>.txt`) come from `requirements/<name>.in`:

    cd benchmarks/stream/requirements
    uv pip compile --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11 NAME.in -o NAME.txt
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
_INSTALL_SECONDS = 600
_LAST_LINES = 6


class EnvironmentMissingError(RuntimeError):
    """A peer's environment can't be made; the text says why."""


def version_of(name: str, package: str) -> str:
    """The version of a package that is pinned for this peer."""
    for line in (REQUIREMENTS / f"{name}.txt").read_text().splitlines():
        found, _, version = line.partition("==")
        if found == package:
            return version
    raise EnvironmentMissingError(f"requirements/{name}.txt pins no {package}")


def environment(name: str, folder: Path) -> Path:
    """The venv of this peer below `folder`. Raises EnvironmentMissingError."""
    pins = REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    venv = folder / "environments" / f"stream-{name}-{digest}"
    stamp = venv / ".installed"
    if stamp.exists():
        return venv
    shutil.rmtree(venv, ignore_errors=True)  # of an installation that was interrupted
    print(f"bench-stream: making the environment of {name}", flush=True)
    uv = Path(sys.prefix) / "bin" / "uv"
    _run(name, [str(uv), "venv", "--quiet", "--python", sys.executable, str(venv)])
    python = str(venv / "bin" / "python")
    _run(name, [str(uv), "pip", "sync", "--quiet", "--python", python, str(pins)])
    stamp.touch()
    return venv


def _run(name: str, command: list[str]) -> None:
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentMissingError(f"the environment of {name} was not made: {error}") from error
    if answer.returncode != 0:
        lines = (answer.stdout + answer.stderr).strip().splitlines()[-_LAST_LINES:]
        raise EnvironmentMissingError(f"the environment of {name} was not made: {' '.join(lines)}")
