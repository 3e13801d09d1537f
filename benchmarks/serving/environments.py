"""The peers' environments: one venv each, made from the committed pins when it isn't there.

The pins (`requirements/<name>.txt`) come from `requirements/<name>.in`:

    cd benchmarks/serving/requirements
    uv pip compile --no-emit-index-url --no-emit-find-links --no-annotate --no-header --python-version 3.11 \
        --override overrides.in NAME.in -o NAME.txt

The override leaves out XGBoost's GPU library: half a gigabyte that a CPU benchmark never loads.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
NAMES = ("fastapi", "mlserver", "mlflow", "bentoml", "ray")
_INSTALL_SECONDS = 600
_LAST_LINES = 6


class EnvironmentMissingError(RuntimeError):
    """A peer's environment can't be made; the text says why."""


def pins_of(name: str) -> dict[str, str]:
    """Package -> version, as pinned for this peer."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()
    pins = (line.partition(";")[0].strip() for line in lines if line and line[0] not in "# ")
    return dict(pin.split("==", 1) for pin in pins)


def environment(name: str, folder: Path) -> Path:
    """The venv of this peer below `folder`. Raises EnvironmentMissingError."""
    pins = REQUIREMENTS / f"{name}.txt"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    venv = folder / "environments" / f"{name}-{digest}"
    stamp = venv / ".installed"
    if stamp.exists():
        return venv
    shutil.rmtree(venv, ignore_errors=True)  # of an installation that was interrupted
    print(f"bench-serving: making the environment of {name}", flush=True)
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
