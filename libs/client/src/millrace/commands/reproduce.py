"""`reproduce`: makes a model version again and compares it with the one that was registered, bit for bit."""

import subprocess
import sys
from typing import Annotated, Any
from urllib.parse import quote

import orjson
import typer

from millrace.addresses import settings_of_the_stack
from millrace.errors import ClientError
from millrace.output import Format, Output, errors, print_json, say
from millrace.settings import Settings, inherited_environment
from millrace.web import get

_PROGRAM = "millrace_training.entrypoints.reproduce"
_EQUAL, _DIFFERENT = 0, 3


def reproduce(
    pipeline: Annotated[str, typer.Argument()],
    version: Annotated[
        int, typer.Argument(min=1, help="The model version, as the registry counts")
    ],
    output: Output = Format.TABLE,
) -> None:
    """Train a model version again, in a fresh process, and compare the artifacts bit for bit.

    It runs here, so the lake, the object store and training's database must be within reach, as for training itself.
    """
    settings = settings_of_the_stack()
    model = get(settings, "registry", f"/v1/pipelines/{quote(pipeline, safe='')}/models/{version}")
    with errors.status(f"training version {version} of {pipeline} again"):
        found = _made_again(settings, pipeline, model["model"]["run_id"])
    if found["recorded_sha256"] != model["artifact_sha256"]:
        raise ClientError(
            f"the registry knows version {version} of {pipeline} as {model['artifact_sha256']}, training as "
            f"{found['recorded_sha256']}: they have different histories; look at MILLRACE_HOME and DATABASE_URL"
        )
    if output is Format.JSON:
        print_json(found)
    else:
        _tell(pipeline, version, found)
    if not found["equal"]:
        raise ClientError(f"version {version} of {pipeline} was not reproduced")


def _made_again(settings: Settings, pipeline: str, run_id: str) -> Any:  # noqa: ANN401  JSON
    environment = inherited_environment() | {"MILLRACE_HOME": str(settings.home)}
    done = subprocess.run(
        [sys.executable, "-m", _PROGRAM, pipeline, run_id],
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode not in (_EQUAL, _DIFFERENT):
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise ClientError(reason[-1] if reason else f"{_PROGRAM} ended with {done.returncode}")
    return orjson.loads(done.stdout)


def _tell(pipeline: str, version: int, found: Any) -> None:  # noqa: ANN401  JSON
    say(f"{pipeline} version {version}: run {found['run_number']}, {found['algorithm']}")
    say(f"dataset      {found['rows']:,} rows, {found['dataset']}")
    say(f"registered   {found['recorded_sha256']}")
    say(f"made again   {found['found_sha256']}")
    if found["equal"]:
        say("The artifacts are equal, bit for bit.")
    else:
        first = found["first_difference"]
        say(f"They differ, first in {first['part']}: {first['then']} then, {first['now']} now.")
    for change in found["environment"]:
        say(f"{change['part']} was {change['then']}, is {change['now']}")


def add_to(app: typer.Typer) -> None:
    app.command()(reproduce)
